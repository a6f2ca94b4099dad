/* A stand-in for the Windows Update Agent: the COM objects that wuapi.dll
 * documents, as far as Fettle calls them, over a catalogue in an ini file.
 *
 * C:\wua\catalogue.ini:
 *   [session] count=2 search_hr=0 busy=0
 *   [1] id=<GUID> rev=1 title=... kb=5099001 severity=Critical installed=0
 *       downloaded=0 asks=0 download_rc=2 download_hr=0 rc=2 hr=0 reboot=0
 * Every change is written there, and every call to C:\wua\calls.txt. */
#define COBJMACROS
#include <windows.h>
#include <oleauto.h>
#include <stdio.h>

#define INI L"C:\\wua\\catalogue.ini"
#define MOST 32

enum kind { SESSION, SEARCHER, FOUND, UPDATES, UPDATE, IDENTITY, STRINGS, BEHAVIOUR, DOWNLOADER, INSTALLER, OUTCOME, MANAGER, SERVICE, HISTORY, ENTRY };

typedef struct {
	IDispatchVtbl *v;
	LONG ref;
	enum kind kind;
	int update;     /* number of its section */
	int list[MOST]; /* sections of a collection */
	int n;
	int rc, hr, reboot;
} Obj;

#define NAMES(X) X(Count) X(CreateUpdateSearcher) X(Search) X(Updates) X(Item) X(Title) X(IsInstalled) X(IsDownloaded) \
	X(KBArticleIDs) X(MsrcSeverity) X(Identity) X(UpdateID) X(RevisionNumber) X(InstallationBehavior) X(CanRequestUserInput) \
	X(EulaAccepted) X(AcceptEula) X(CreateUpdateDownloader) X(CreateUpdateInstaller) X(Download) X(Install) X(Uninstall) \
	X(ResultCode) X(HResult) X(RebootRequired) X(GetUpdateResult) X(IsBusy) X(RebootRequiredBeforeInstallation) X(ForceQuiet) \
	X(ClientApplicationID) X(Add) X(ServerSelection) X(ServiceID) X(AddScanPackageService) X(RemoveService) X(CopyToCache) \
	X(BundledUpdates) X(GetTotalHistoryCount) X(QueryHistory) X(Date) X(Operation) X(UpdateIdentity)

#define ONE(n) D_##n,
enum { D_none, NAMES(ONE) };
#undef ONE
#define ONE(n) L"" #n,
static const WCHAR *names[] = { NAMES(ONE) NULL };

static Obj *make(enum kind kind, int update);

static void note(const char *what, const WCHAR *detail)
{
	FILE *f = fopen("C:\\wua\\calls.txt", "a");
	if (f) {
		fprintf(f, "%s %ls\n", what, detail ? detail : L"");
		fclose(f);
	}
}

static int number(int section, const WCHAR *key, int otherwise)
{
	WCHAR name[16], text[64];
	if (section)
		wsprintfW(name, L"%d", section);
	else
		lstrcpyW(name, L"session");
	if (!GetPrivateProfileStringW(name, key, L"", text, 64, INI))
		return otherwise;
	return (int)wcstoul(text, NULL, 0);
}

static BSTR text(int section, const WCHAR *key)
{
	WCHAR name[16], value[512];
	wsprintfW(name, L"%d", section);
	GetPrivateProfileStringW(name, key, L"", value, 512, INI);
	return SysAllocString(value);
}

static void set(int section, const WCHAR *key, int value)
{
	WCHAR name[16], v[16];
	wsprintfW(name, L"%d", section);
	wsprintfW(v, L"%d", value);
	WritePrivateProfileStringW(name, key, v, INI);
}

static void returnObject(VARIANT *v, Obj *o) { V_VT(v) = VT_DISPATCH; V_DISPATCH(v) = (IDispatch *)o; }
static void returnNumber(VARIANT *v, int i) { V_VT(v) = VT_I4; V_I4(v) = i; }
static void returnBool(VARIANT *v, int b) { V_VT(v) = VT_BOOL; V_BOOL(v) = b ? VARIANT_TRUE : VARIANT_FALSE; }
static void returnText(VARIANT *v, BSTR s) { V_VT(v) = VT_BSTR; V_BSTR(v) = s; }

static HRESULT throw(EXCEPINFO *e, int hr)
{
	if (!e)
		return hr;
	ZeroMemory(e, sizeof *e);
	e->scode = hr;
	return DISP_E_EXCEPTION;
}

/* search keeps the updates whose id the expression names. */
static Obj *search(const WCHAR *criteria)
{
	Obj *all = make(UPDATES, 0);
	WCHAR wanted[512];
	lstrcpynW(wanted, criteria, 512);
	CharLowerW(wanted);
	for (int i = 1; i <= number(0, L"count", 0) && all->n < MOST; i++) {
		BSTR id = text(i, L"id");
		CharLowerW(id);
		if (!wcsstr(wanted, L"updateid=") || wcsstr(wanted, id))
			all->list[all->n++] = i;
		SysFreeString(id);
	}
	return all;
}

/* work downloads, installs or uninstalls all updates of the worker. */
static Obj *work(Obj *o, int download, int remove)
{
	Obj *r = make(OUTCOME, 0);
	r->rc = 2;
	for (int i = 0; i < o->n; i++) {
		int u = o->list[i], rc = number(u, download ? L"download_rc" : L"rc", 2);
		BSTR id = text(u, L"id");
		note(download ? "download" : remove ? "uninstall" : "install", id);
		SysFreeString(id);
		r->rc = rc;
		r->hr = number(u, download ? L"download_hr" : L"hr", 0);
		if (rc != 2)
			continue;
		if (download) {
			set(u, L"downloaded", 1);
		} else {
			r->reboot = number(u, L"reboot", 0);
			set(u, L"installed", !remove);
			set(u, L"history", remove ? 2 : 1);
		}
	}
	return r;
}

static const WCHAR *stringArgument(DISPPARAMS *p, int fromLast)
{
	if (!p || (int)p->cArgs <= fromLast || V_VT(&p->rgvarg[fromLast]) != VT_BSTR)
		return L"";
	return V_BSTR(&p->rgvarg[fromLast]);
}

static HRESULT putProperty(Obj *o, DISPID id, DISPPARAMS *p)
{
	if (id == D_Updates && p->cArgs == 1 && V_VT(&p->rgvarg[0]) == VT_DISPATCH) {
		Obj *from = (Obj *)V_DISPATCH(&p->rgvarg[0]);
		o->n = from->n;
		CopyMemory(o->list, from->list, sizeof o->list);
		return S_OK;
	}
	if (id == D_ServiceID)
		note("offline", stringArgument(p, 0));
	return id == D_ClientApplicationID || id == D_ServerSelection || id == D_ServiceID || id == D_ForceQuiet ? S_OK : DISP_E_MEMBERNOTFOUND;
}

static HRESULT item(Obj *o, int i, VARIANT *v)
{
	if (o->kind == STRINGS) {
		returnText(v, text(o->update, L"kb"));
		return S_OK;
	}
	if (i < 0 || i >= o->n)
		return DISP_E_BADINDEX;
	returnObject(v, make(o->kind == HISTORY ? ENTRY : UPDATE, o->list[i]));
	return S_OK;
}

static HRESULT STDMETHODCALLTYPE invoke(IDispatch *t, DISPID id, REFIID r, LCID l, WORD flags, DISPPARAMS *p, VARIANT *v, EXCEPINFO *e, UINT *a)
{
	Obj *o = (Obj *)t;
	VARIANT nowhere;
	int arg = p && p->cArgs && V_VT(&p->rgvarg[p->cArgs - 1]) == VT_I4 ? V_I4(&p->rgvarg[p->cArgs - 1]) : 0;
	(void)r; (void)l; (void)a;
	if (flags & (DISPATCH_PROPERTYPUT | DISPATCH_PROPERTYPUTREF))
		return putProperty(o, id, p);
	if (!v)
		v = &nowhere;
	VariantInit(v);
	switch (id) {
	case D_CreateUpdateSearcher: returnObject(v, make(SEARCHER, 0)); break;
	case D_CreateUpdateDownloader: returnObject(v, make(DOWNLOADER, 0)); break;
	case D_CreateUpdateInstaller: returnObject(v, make(INSTALLER, 0)); break;
	case D_Search: {
		int hr = number(0, L"search_hr", 0);
		note("search", stringArgument(p, 0));
		if (hr)
			return throw(e, hr);
		Obj *f = search(stringArgument(p, 0));
		f->kind = FOUND;
		returnObject(v, f);
		break;
	}
	case D_Updates: {
		Obj *c = make(UPDATES, 0);
		c->n = o->n;
		CopyMemory(c->list, o->list, sizeof c->list);
		returnObject(v, c);
		break;
	}
	case D_Count: returnNumber(v, o->kind == STRINGS ? 1 : o->n); break;
	case D_Item: return item(o, arg, v);
	case D_Add:
		if (o->kind == UPDATES && V_VT(&p->rgvarg[0]) == VT_DISPATCH && o->n < MOST)
			o->list[o->n++] = ((Obj *)V_DISPATCH(&p->rgvarg[0]))->update;
		if (o->kind == STRINGS)
			note("file", stringArgument(p, 0));
		returnNumber(v, 0);
		break;
	case D_BundledUpdates: returnObject(v, make(UPDATES, 0)); break;
	case D_CopyToCache: note("copy", NULL); set(o->update, L"downloaded", 1); break;
	case D_Identity:
	case D_UpdateIdentity: returnObject(v, make(IDENTITY, o->update)); break;
	case D_UpdateID: returnText(v, text(o->update, L"id")); break;
	case D_RevisionNumber: returnNumber(v, number(o->update, L"rev", 1)); break;
	case D_Title: returnText(v, text(o->update, L"title")); break;
	case D_MsrcSeverity: returnText(v, text(o->update, L"severity")); break;
	case D_KBArticleIDs: returnObject(v, make(STRINGS, o->update)); break;
	case D_IsInstalled: returnBool(v, number(o->update, L"installed", 0)); break;
	case D_IsDownloaded: returnBool(v, number(o->update, L"downloaded", 0)); break;
	case D_InstallationBehavior: returnObject(v, make(BEHAVIOUR, o->update)); break;
	case D_CanRequestUserInput: returnBool(v, number(o->update, L"asks", 0)); break;
	case D_EulaAccepted: returnBool(v, number(o->update, L"eula", 0)); break;
	case D_AcceptEula: note("eula", NULL); set(o->update, L"eula", 1); break;
	case D_Download: returnObject(v, work(o, 1, 0)); break;
	case D_Install: returnObject(v, work(o, 0, 0)); break;
	case D_Uninstall: returnObject(v, work(o, 0, 1)); break;
	case D_GetUpdateResult: {
		Obj *one = make(OUTCOME, 0);
		one->rc = o->rc, one->hr = o->hr, one->reboot = o->reboot;
		returnObject(v, one);
		break;
	}
	case D_ResultCode: returnNumber(v, o->kind == OUTCOME ? o->rc : 2); break;
	case D_HResult: returnNumber(v, o->kind == OUTCOME ? o->hr : 0); break;
	case D_RebootRequired: returnBool(v, o->reboot); break;
	case D_IsBusy: returnBool(v, number(0, L"busy", 0)); break;
	case D_RebootRequiredBeforeInstallation: returnBool(v, number(0, L"restart_first", 0)); break;
	case D_AddScanPackageService:
		note("scanfile", stringArgument(p, 1));
		returnObject(v, make(SERVICE, 0));
		break;
	case D_RemoveService: note("remove", stringArgument(p, 0)); break;
	case D_ServiceID: returnText(v, SysAllocString(L"11111111-2222-3333-4444-555555555555")); break;
	case D_GetTotalHistoryCount:
	case D_QueryHistory: {
		Obj *h = make(HISTORY, 0);
		for (int i = 1; i <= number(0, L"count", 0); i++)
			if (number(i, L"history", 0))
				h->list[h->n++] = i;
		if (id == D_QueryHistory) {
			returnObject(v, h);
		} else {
			returnNumber(v, h->n);
			HeapFree(GetProcessHeap(), 0, h);
		}
		break;
	}
	case D_Date: V_VT(v) = VT_DATE; V_DATE(v) = 46348.5; break; /* 2026-11-22 12:00 */
	case D_Operation: returnNumber(v, number(o->update, L"history", 1)); break;
	default: return DISP_E_MEMBERNOTFOUND;
	}
	return S_OK;
}

static HRESULT STDMETHODCALLTYPE query(IDispatch *t, REFIID r, void **o)
{
	if (!IsEqualIID(r, &IID_IUnknown) && !IsEqualIID(r, &IID_IDispatch)) {
		*o = NULL;
		return E_NOINTERFACE;
	}
	*o = t;
	InterlockedIncrement(&((Obj *)t)->ref);
	return S_OK;
}

static ULONG STDMETHODCALLTYPE addRef(IDispatch *t) { return InterlockedIncrement(&((Obj *)t)->ref); }

static ULONG STDMETHODCALLTYPE release(IDispatch *t)
{
	ULONG left = InterlockedDecrement(&((Obj *)t)->ref);
	if (!left)
		HeapFree(GetProcessHeap(), 0, t);
	return left;
}

static HRESULT STDMETHODCALLTYPE typeCount(IDispatch *t, UINT *n) { (void)t; *n = 0; return S_OK; }
static HRESULT STDMETHODCALLTYPE typeInfo(IDispatch *t, UINT i, LCID l, ITypeInfo **p) { (void)t; (void)i; (void)l; *p = NULL; return E_NOTIMPL; }

static HRESULT STDMETHODCALLTYPE idsOfNames(IDispatch *t, REFIID r, LPOLESTR *n, UINT c, LCID l, DISPID *d)
{
	(void)t; (void)r; (void)c; (void)l;
	for (int i = 0; names[i]; i++)
		if (!lstrcmpiW(names[i], n[0])) {
			*d = i + 1;
			return S_OK;
		}
	return DISP_E_UNKNOWNNAME;
}

static IDispatchVtbl table = { query, addRef, release, typeCount, typeInfo, idsOfNames, invoke };

static Obj *make(enum kind kind, int update)
{
	Obj *o = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *o);
	o->v = &table;
	o->ref = 1;
	o->kind = kind;
	o->update = update;
	return o;
}

/* One factory for each class that can be created by name. */
typedef struct { IClassFactoryVtbl *v; enum kind kind; } Factory;

static HRESULT STDMETHODCALLTYPE fQuery(IClassFactory *t, REFIID r, void **o) { (void)r; *o = t; return S_OK; }
static ULONG STDMETHODCALLTYPE fRef(IClassFactory *t) { (void)t; return 2; }
static HRESULT STDMETHODCALLTYPE fLock(IClassFactory *t, BOOL b) { (void)t; (void)b; return S_OK; }

static HRESULT STDMETHODCALLTYPE fCreate(IClassFactory *t, IUnknown *outer, REFIID r, void **o)
{
	Obj *x = make(((Factory *)t)->kind, 0);
	HRESULT hr = query((IDispatch *)x, r, o);
	(void)outer;
	release((IDispatch *)x);
	return hr;
}

static IClassFactoryVtbl fTable = { fQuery, fRef, fRef, fCreate, fLock };
static Factory session = { &fTable, SESSION }, updates = { &fTable, UPDATES }, strings = { &fTable, STRINGS }, manager = { &fTable, MANAGER };

__declspec(dllexport) HRESULT STDMETHODCALLTYPE DllGetClassObject(REFCLSID c, REFIID r, void **o)
{
	(void)r;
	switch (c->Data1) {
	case 0x4CB43D7F: *o = &session; return S_OK;
	case 0x13639463: *o = &updates; return S_OK;
	case 0x72C97D74: *o = &strings; return S_OK;
	case 0xF8D253D9: *o = &manager; return S_OK;
	}
	*o = NULL;
	return CLASS_E_CLASSNOTAVAILABLE;
}

__declspec(dllexport) HRESULT STDMETHODCALLTYPE DllCanUnloadNow(void) { return S_FALSE; }
