package wmi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	ole "github.com/go-ole/go-ole"
	"github.com/go-ole/go-ole/oleutil"

	"github.com/fettlehq/fettle/internal/fault"
)

// Query returns the rows of a query in WMI's language, each with the named properties. It ends with ctx, though a call
// that WMI does not answer goes on in its thread until the process ends. Errors: fault.Invalid for a query that is none
// and for classes and namespaces that there are not, fault.Unsupported for one that is not asked (Win32_Product),
// fault.Cancelled, fault.Denied, fault.Unavailable when WMI does not answer, fault.Exhausted beyond 10,000 rows.
func Query(ctx context.Context, namespace, wql string, properties ...string) ([]Row, error) {
	var rows []Row
	err := ask(ctx, namespace, wql, func(o *ole.IDispatch) error {
		if len(rows) == maxRows {
			return fault.New(fault.Exhausted, "wmi: the answer has more than %d rows", maxRows)
		}
		rows = append(rows, read(o, properties))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Objects is Query with the properties as they are: a string, an int64, a float64 or a bool, by their names in lower
// case; several values are none. Numbers of 64 bits and times come from WMI as strings.
func Objects(ctx context.Context, namespace, wql string, properties ...string) ([]map[string]any, error) {
	var all []map[string]any
	err := ask(ctx, namespace, wql, func(o *ole.IDispatch) error {
		if len(all) == maxRows {
			return fault.New(fault.Exhausted, "wmi: the answer has more than %d rows", maxRows)
		}
		row := map[string]any{}
		for _, name := range properties {
			if v, ok := value(o, name); ok {
				row[strings.ToLower(name)] = plain(v.Value())
				_ = v.Clear() // it is copied
			}
		}
		all = append(all, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// plain turns what COM gives into the few types that Question knows.
func plain(v any) any {
	switch v := reflect.ValueOf(v); {
	case !v.IsValid():
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return v.Bool()
	case v.CanInt():
		return v.Int()
	case v.CanUint() && v.Kind() != reflect.Uintptr:
		return int64(v.Uint())
	case v.CanFloat():
		return v.Float()
	}
	return nil
}

// Any reports whether a query finds anything. Errors are those of Query.
func Any(ctx context.Context, namespace, wql string) (bool, error) {
	enough := errors.New("wmi: one is enough")
	found := false
	err := ask(ctx, namespace, wql, func(*ole.IDispatch) error {
		found = true
		return enough
	})
	if err != nil && !errors.Is(err, enough) {
		return false, err
	}
	return found, nil
}

// ask runs a query in a thread of its own, since COM belongs to threads. What do has gathered must not be touched when
// ctx has ended: the thread may still be at it.
func ask(ctx context.Context, namespace, wql string, do func(*ole.IDispatch) error) error {
	if err := check(namespace, wql); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine, and COM's state with it
		done <- within(ctx, namespace, wql, do)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.Wrap(context.Cause(ctx), fault.Cancelled, "wmi: WMI took too long to answer")
	}
}

// Results of CoInitializeEx that are no failure (combaseapi.h).
const (
	alreadyInitialised = 1          // S_FALSE
	changedMode        = 0x80010106 // RPC_E_CHANGED_MODE: the thread has COM in another mode, which does as well
)

func within(ctx context.Context, namespace, wql string, do func(*ole.IDispatch) error) (err error) {
	defer func() { // the objects are other people's, and a catalog chose the question
		if r := recover(); r != nil {
			err = fault.Wrap(fmt.Errorf("panic: %v", r), fault.Unavailable, "wmi: WMI's answer can't be read")
		}
	}()
	switch err := ole.CoInitializeEx(0, ole.COINIT_MULTITHREADED); code(err) {
	case 0, alreadyInitialised:
		defer ole.CoUninitialize()
	case changedMode:
	default:
		return wrap(err, "COM does not start")
	}
	unknown, err := oleutil.CreateObject("WbemScripting.SWbemLocator")
	if err != nil {
		return wrap(err, "there is none")
	}
	defer unknown.Release()
	locator, err := unknown.QueryInterface(ole.IID_IDispatch)
	if err != nil {
		return wrap(err, "its locator is none")
	}
	defer locator.Release()
	services, err := connect(locator, namespace)
	if err != nil {
		return err
	}
	defer services.Release()
	// wbemFlagReturnImmediately | wbemFlagForwardOnly: rows are made as they are read.
	const flags = 0x10 | 0x20
	result, err := oleutil.CallMethod(services, "ExecQuery", wql, "WQL", flags)
	if err != nil {
		return wrap(err, "it refuses the query")
	}
	set := result.ToIDispatch()
	if set == nil {
		return fault.New(fault.Unavailable, "wmi: WMI's answer is none")
	}
	defer set.Release()
	return each(ctx, set, do)
}

// each goes through an answer. Package oleutil's ForEach takes a failure for the end, and WMI tells of a class that there
// is not here, not before.
func each(ctx context.Context, set *ole.IDispatch, do func(*ole.IDispatch) error) error {
	const noMore = 1 // S_FALSE
	enumerator, err := set.GetProperty("_NewEnum")
	if err != nil {
		return wrap(err, "its answer can't be read")
	}
	defer func() { _ = enumerator.Clear() }() // it is used up
	unknown := enumerator.ToIUnknown()
	if unknown == nil {
		return fault.New(fault.Unavailable, "wmi: WMI's answer is none")
	}
	enum, err := unknown.IEnumVARIANT(ole.IID_IEnumVariant)
	if err != nil || enum == nil {
		return wrap(err, "its answer can't be read")
	}
	defer enum.Release()
	for {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(err, fault.Cancelled, "wmi: WMI took too long to answer")
		}
		item, n, err := enum.Next(1)
		if n == 0 {
			if c := code(err); c == 0 || c == noMore {
				return nil
			}
			return wrap(err, "its answer breaks off")
		}
		if err := one(&item, do); err != nil {
			return err
		}
	}
}

func one(item *ole.VARIANT, do func(*ole.IDispatch) error) error {
	defer func() { _ = item.Clear() }() // this releases the object
	if o := item.ToIDispatch(); o != nil {
		return do(o)
	}
	return nil
}

// connect opens a namespace of this machine. The default one is opened without its name: Wine 8 knows no other way.
func connect(locator *ole.IDispatch, namespace string) (*ole.IDispatch, error) {
	var args []any
	if namespace != "" && !strings.EqualFold(strings.ReplaceAll(namespace, "/", `\`), CIMv2) {
		args = []any{".", namespace}
	}
	result, err := oleutil.CallMethod(locator, "ConnectServer", args...)
	if err != nil {
		return nil, wrap(err, "it refuses the namespace")
	}
	services := result.ToIDispatch()
	if services == nil {
		return nil, fault.New(fault.Unavailable, "wmi: the namespace is none")
	}
	return services, nil
}

func read(o *ole.IDispatch, properties []string) Row {
	row := Row{}
	for _, name := range properties {
		if text, ok := property(o, name); ok {
			row[name] = text
		}
	}
	return row
}

// value reads one property. Method and property-get together are what VBScript sends; Wine 8 answers nothing else.
func value(o *ole.IDispatch, name string) (*ole.VARIANT, bool) {
	ids, err := o.GetIDsOfName([]string{name})
	if err != nil || len(ids) != 1 {
		return nil, false
	}
	v, err := o.Invoke(ids[0], ole.DISPATCH_METHOD|ole.DISPATCH_PROPERTYGET)
	return v, err == nil
}

// property is the text of a property.
func property(o *ole.IDispatch, name string) (string, bool) {
	v, ok := value(o, name)
	if !ok {
		return "", false
	}
	defer func() { _ = v.Clear() }() // it is copied
	if array := v.ToArray(); array != nil {
		var texts []string
		for _, one := range array.ToValueArray() {
			texts = append(texts, fmt.Sprint(one))
		}
		return strings.Join(texts, "\n"), true
	}
	single := v.Value()
	if single == nil {
		return "", false
	}
	return fmt.Sprint(single), true
}

// Results of WMI (wbemcli.h) and COM that tell what is wrong.
const (
	accessDenied     = 0x80070005
	wbemAccessDenied = 0x80041003
	invalidNamespace = 0x8004100E
	invalidClass     = 0x80041010
	invalidQuery     = 0x80041017
	invalidQueryType = 0x80041018
)

// code is the result of a call: 0 for success.
func code(err error) uintptr {
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*ole.OleError](err)
	if !ok {
		return 0x80004005 // E_FAIL
	}
	// A failed Invoke hides the true result behind "exception occurred".
	if info, ok := errors.AsType[ole.EXCEPINFO](e.SubError()); ok && info.SCODE() != 0 {
		return uintptr(info.SCODE())
	}
	return e.Code()
}

func wrap(err error, what string) error {
	c := fault.Unavailable
	switch code(err) {
	case accessDenied, wbemAccessDenied:
		c = fault.Denied
	case invalidNamespace, invalidClass, invalidQuery, invalidQueryType:
		c = fault.Invalid
	}
	return fault.Wrap(err, c, "wmi: WMI can't be asked: %s (0x%08x)", what, uint32(code(err)))
}
