package wua

import (
	"errors"
	"strings"

	ole "github.com/go-ole/go-ole"
	"github.com/go-ole/go-ole/oleutil"

	"github.com/fettlehq/fettle/internal/fault"
)

func explain(err error, what string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	hr := code(err)
	kind := fault.Unavailable
	if hr == 0x80004001 || hr == 0x80040154 || hr == 0x80020006 || hr == 0x80004002 || strings.Contains(err.Error(), "class string") {
		kind = fault.Unsupported
	}
	return fault.Wrap(err, kind, "Windows Update failed to %s: %s", what, Words(hr))
}

// code is the HRESULT of an error; of an exception that a method threw, its own.
func code(err error) uint32 {
	e, ok := errors.AsType[*ole.OleError](err)
	if !ok {
		return 0x8000FFFF
	}
	hr := uint32(e.Code())
	if info, ok := errors.AsType[ole.EXCEPINFO](e.SubError()); ok && info.SCODE() != 0 && hr == 0x80020009 {
		return info.SCODE()
	}
	return hr
}

func create(name string) (*ole.IDispatch, error) {
	u, err := oleutil.CreateObject(name)
	if err != nil {
		return nil, err
	}
	defer u.Release()
	return u.QueryInterface(ole.IID_IDispatch)
}

func put(d *ole.IDispatch, name string, value any) error {
	v, err := oleutil.PutProperty(d, name, value)
	if v != nil {
		_ = v.Clear() // nothing is in it
	}
	return err
}

// object calls a method that returns an object.
func object(d *ole.IDispatch, method string, args ...any) (*ole.IDispatch, error) {
	v, err := oleutil.CallMethod(d, method, args...)
	return dispatch(v, method, err)
}

// part reads a property that is an object.
func part(d *ole.IDispatch, name string, args ...any) (*ole.IDispatch, error) {
	v, err := oleutil.GetProperty(d, name, args...)
	return dispatch(v, name, err)
}

func dispatch(v *ole.VARIANT, name string, err error) (*ole.IDispatch, error) {
	if err != nil {
		return nil, err
	}
	if d := v.ToIDispatch(); d != nil && v.VT == ole.VT_DISPATCH {
		return d, nil
	}
	return nil, fault.New(fault.Unavailable, "wua: %s gave no object", name)
}

// value reads a property; what a machine's version lacks is the zero value.
func value[T any](d *ole.IDispatch, name string, args ...any) (out T) {
	v, err := oleutil.GetProperty(d, name, args...)
	if err != nil {
		return out
	}
	defer func() { _ = v.Clear() }()
	out, _ = v.Value().(T)
	return out
}

// each calls do with every member of a collection.
func each(coll *ole.IDispatch, do func(i int, item *ole.IDispatch) error) error {
	for i := range int(value[int32](coll, "Count")) {
		item, err := part(coll, "Item", i)
		if err != nil {
			return err
		}
		if err := do(i, item); err != nil {
			return err
		}
	}
	return nil
}
