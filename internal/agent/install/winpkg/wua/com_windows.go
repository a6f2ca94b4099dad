package wua

import (
	"context"
	"runtime"
	"strings"
	"time"

	ole "github.com/go-ole/go-ole"
	"github.com/go-ole/go-ole/oleutil"

	"github.com/fettlehq/fettle/internal/fault"
)

// com is Session over Microsoft.Update.Session. COM wants its calls on a
// thread that was set up for it, so all of them run on one of their own.
type com struct {
	calls   chan func()
	session *ole.IDispatch
	found   map[ID]*ole.IDispatch
	// service is the offline service to be taken off again, "" for none.
	service string
}

// COM opens Windows Update of this machine. A call that hangs is left behind
// when its context ends: the Windows Update Agent offers no way to stop a
// search from outside.
func COM(ctx context.Context) (Session, error) {
	c := &com{calls: make(chan func()), found: map[ID]*ole.IDispatch{}}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its COM
		err := ole.CoInitializeEx(0, ole.COINIT_MULTITHREADED)
		if err == nil || code(err) == 1 { // 1 is S_FALSE: it was done before
			defer ole.CoUninitialize()
		}
		for call := range c.calls {
			call()
		}
	}()
	err := c.do(ctx, "open Windows Update", func() error {
		var err error
		if c.session, err = create("Microsoft.Update.Session"); err != nil {
			return err
		}
		// Servers and history show who asked. Not every version takes it.
		_ = put(c.session, "ClientApplicationID", "Fettle")
		return nil
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// do runs one call on the thread and puts its HRESULT into words.
func (c *com) do(ctx context.Context, what string, call func() error) error {
	done := make(chan error, 1)
	select {
	case c.calls <- func() { done <- call() }:
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Cancelled, "Windows Update was still busy when the time was up: %s", what)
	}
	select {
	case err := <-done:
		return explain(err, what)
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Cancelled, "Windows Update did not come to an end in time: %s", what)
	}
}

// Search implements Session.
func (c *com) Search(ctx context.Context, q Query) (out []Update, err error) {
	err = c.do(ctx, "search", func() error {
		searcher, err := object(c.session, "CreateUpdateSearcher")
		if err != nil {
			return err
		}
		defer searcher.Release()
		if q.ScanFile != "" {
			if err := c.offline(searcher, q.ScanFile); err != nil {
				return err
			}
		}
		result, err := object(searcher, "Search", q.Criteria())
		if err != nil {
			return err
		}
		defer result.Release()
		if rc := Code(value[int32](result, "ResultCode")); rc != Succeeded && rc != SucceededWithErrors {
			return fault.New(fault.Unavailable, "Windows Update's search %s", rc)
		}
		updates, err := part(result, "Updates")
		if err != nil {
			return err
		}
		defer updates.Release()
		return each(updates, func(_ int, u *ole.IDispatch) error {
			one, err := describe(u)
			if err != nil {
				return err
			}
			c.found[one.ID] = u // kept for download and installation
			out = append(out, one)
			return nil
		})
	})
	return out, err
}

// offline lets the searcher use a scan file (IUpdateServiceManager.
// AddScanPackageService; ServerSelection 3 is ssOthers).
func (c *com) offline(searcher *ole.IDispatch, file string) error {
	manager, err := create("Microsoft.Update.ServiceManager")
	if err != nil {
		return err
	}
	defer manager.Release()
	service, err := object(manager, "AddScanPackageService", "Fettle offline scan", file, 1)
	if err != nil {
		return err
	}
	defer service.Release()
	c.service = value[string](service, "ServiceID")
	if err := put(searcher, "ServerSelection", 3); err != nil {
		return err
	}
	return put(searcher, "ServiceID", c.service)
}

func describe(u *ole.IDispatch) (Update, error) {
	id, err := identity(u, "Identity")
	if err != nil {
		return Update{}, err
	}
	one := Update{
		ID: id, Title: value[string](u, "Title"), Severity: value[string](u, "MsrcSeverity"),
		Installed: value[bool](u, "IsInstalled"), Downloaded: value[bool](u, "IsDownloaded"),
	}
	if behaviour, err := part(u, "InstallationBehavior"); err == nil {
		one.AsksUser = value[bool](behaviour, "CanRequestUserInput")
		behaviour.Release()
	}
	if kbs, err := part(u, "KBArticleIDs"); err == nil {
		for i := range int(value[int32](kbs, "Count")) {
			one.KBs = append(one.KBs, value[string](kbs, "Item", i))
		}
		kbs.Release()
	}
	return one, nil
}

func identity(d *ole.IDispatch, name string) (ID, error) {
	i, err := part(d, name)
	if err != nil {
		return ID{}, err
	}
	defer i.Release()
	return ID{Update: strings.ToLower(value[string](i, "UpdateID")), Revision: int(value[int32](i, "RevisionNumber"))}, nil
}

// collection puts an update that Search has found into a new collection.
func (c *com) collection(id ID) (u, coll *ole.IDispatch, err error) {
	u = c.found[id]
	if u == nil {
		return nil, nil, fault.New(fault.Internal, "wua: update %s was not searched for", id.Update)
	}
	if coll, err = create("Microsoft.Update.UpdateColl"); err != nil {
		return nil, nil, err
	}
	v, err := oleutil.CallMethod(coll, "Add", u)
	if err != nil {
		coll.Release()
		return nil, nil, err
	}
	_ = v.Clear() // a number
	return u, coll, nil
}

// Download implements Session.
func (c *com) Download(ctx context.Context, id ID, files []string) (r Result, err error) {
	err = c.do(ctx, "download", func() error {
		u, coll, err := c.collection(id)
		if err != nil {
			return err
		}
		defer coll.Release()
		if err := acceptTerms(u); err != nil {
			return err
		}
		if len(files) > 0 {
			r.Code = Succeeded
			return copyToCache(u, files)
		}
		r, err = c.operate("CreateUpdateDownloader", "Download", coll)
		return err
	})
	return r, err
}

// acceptTerms accepts the licence terms: who approved the patch has done so.
func acceptTerms(u *ole.IDispatch) error {
	if value[bool](u, "EulaAccepted") {
		return nil
	}
	v, err := oleutil.CallMethod(u, "AcceptEula")
	if v != nil {
		_ = v.Clear() // nothing is in it
	}
	return err
}

// copyToCache hands an update's files over (IUpdate2.CopyToCache). Updates that
// are bundles hold their files in the bundled ones.
func copyToCache(u *ole.IDispatch, files []string) error {
	paths, err := create("Microsoft.Update.StringColl")
	if err != nil {
		return err
	}
	defer paths.Release()
	for _, f := range files {
		v, err := oleutil.CallMethod(paths, "Add", f)
		if err != nil {
			return err
		}
		_ = v.Clear() // a number
	}
	take := func(u *ole.IDispatch) error {
		v, err := oleutil.CallMethod(u, "CopyToCache", paths)
		if v != nil {
			_ = v.Clear() // nothing is in it
		}
		return err
	}
	bundled, err := part(u, "BundledUpdates")
	if err != nil || value[int32](bundled, "Count") == 0 {
		return take(u)
	}
	defer bundled.Release()
	return each(bundled, func(_ int, b *ole.IDispatch) error {
		defer b.Release()
		return take(b)
	})
}

// operate makes a downloader or an installer and lets it work on the collection.
func (c *com) operate(maker, method string, coll *ole.IDispatch) (Result, error) {
	worker, err := object(c.session, maker)
	if err != nil {
		return Result{}, err
	}
	defer worker.Release()
	if err := put(worker, "Updates", coll); err != nil {
		return Result{}, err
	}
	if maker == "CreateUpdateInstaller" {
		if value[bool](worker, "IsBusy") {
			return Result{Code: Failed, HResult: eInProgress}, nil
		}
		if value[bool](worker, "RebootRequiredBeforeInstallation") {
			return Result{Code: Failed, HResult: 0x80070BC9}, nil
		}
		_ = put(worker, "ForceQuiet", true) // IUpdateInstaller2
	}
	result, err := object(worker, method)
	if err != nil {
		return Result{}, err
	}
	defer result.Release()
	r := Result{Code: Code(value[int32](result, "ResultCode")), HResult: uint32(value[int32](result, "HResult")), Reboot: value[bool](result, "RebootRequired")}
	if one, err := object(result, "GetUpdateResult", 0); err == nil { // says more than the whole
		defer one.Release()
		if hr := uint32(value[int32](one, "HResult")); hr != 0 {
			r.HResult = hr
		}
	}
	return r, nil
}

// Install implements Session.
func (c *com) Install(ctx context.Context, id ID, remove bool) (r Result, err error) {
	what, method := "install", "Install"
	if remove {
		what, method = "uninstall", "Uninstall"
	}
	err = c.do(ctx, what, func() error {
		_, coll, err := c.collection(id)
		if err != nil {
			return err
		}
		defer coll.Release()
		r, err = c.operate("CreateUpdateInstaller", method, coll)
		return err
	})
	return r, err
}

// History implements Session.
func (c *com) History(ctx context.Context, most int) (out []Event, err error) {
	err = c.do(ctx, "read the update history", func() error {
		searcher, err := object(c.session, "CreateUpdateSearcher")
		if err != nil {
			return err
		}
		defer searcher.Release()
		n, err := oleutil.CallMethod(searcher, "GetTotalHistoryCount")
		if err != nil {
			return err
		}
		total, _ := n.Value().(int32)
		if total == 0 {
			return nil
		}
		entries, err := object(searcher, "QueryHistory", 0, min(int(total), most))
		if err != nil {
			return err
		}
		defer entries.Release()
		return each(entries, func(_ int, e *ole.IDispatch) error {
			defer e.Release()
			id, err := identity(e, "UpdateIdentity")
			if err != nil {
				return err
			}
			out = append(out, Event{
				ID: id, Title: value[string](e, "Title"), At: value[time.Time](e, "Date"), Uninstall: value[int32](e, "Operation") == 2,
				Result: Result{Code: Code(value[int32](e, "ResultCode")), HResult: uint32(value[int32](e, "HResult"))},
			})
			return nil
		})
	})
	return out, err
}

// Close implements Session. It gives a hanging call no chance to hold the
// agent up.
func (c *com) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = c.do(ctx, "close", func() error {
		for _, u := range c.found {
			u.Release()
		}
		if c.service != "" {
			if m, err := create("Microsoft.Update.ServiceManager"); err == nil {
				_, _ = oleutil.CallMethod(m, "RemoveService", c.service)
				m.Release()
			}
		}
		if c.session != nil {
			c.session.Release()
		}
		return nil
	})
	if ctx.Err() == nil {
		close(c.calls)
	}
}
