package wua

import "fmt"

// HRESULTs that decide (wuerror.h).
const (
	sRebootRequired   = 0x00240005
	sAlreadyInstalled = 0x00240006
	eNotApplicable    = 0x80240017
	eInProgress       = 0x80240016
	eOtherInstall     = 0x80240059
)

// busy reports that another installation or search is at work.
func busy(hr uint32) bool { return hr == eInProgress || hr == eOtherInstall || hr == 0x80070652 }

// Words says what an HRESULT of Windows Update means, with its number
// (wuerror.h, and Microsoft's "Windows Update common errors").
func Words(hr uint32) string {
	if hr == 0 {
		return "no error code was given"
	}
	if w, ok := table()[hr]; ok {
		return fmt.Sprintf("0x%08X: %s", hr, w)
	}
	return fmt.Sprintf("0x%08X: an error that Fettle has no words for", hr)
}

func table() map[uint32]string {
	return map[uint32]string{
		0x00240001:        "the service was stopped",
		0x00240002:        "the agent updated itself",
		0x00240003:        "done, with errors on the way",
		0x00240004:        "a callback was skipped",
		sRebootRequired:   "a restart is due",
		sAlreadyInstalled: "it is installed already",
		0x00240007:        "it is not installed, so there is nothing to remove",
		0x00240008:        "it is downloaded already",
		0x80240001:        "the Windows Update Agent could not serve the request",
		0x80240002:        "the maximum of an internal limit was exceeded",
		0x80240003:        "an id that was given is not known",
		0x80240004:        "the object is not initialised",
		0x80240005:        "an update asked for a range that is not valid",
		0x80240006:        "a version was not valid",
		0x80240007:        "an index was not valid",
		0x80240008:        "an item was not found",
		0x80240009:        "another operation of Windows Update is at work",
		0x8024000A:        "the number of dependencies is too large",
		0x8024000B:        "it was cancelled",
		0x8024000C:        "nothing had to be done",
		0x8024000D:        "the update's metadata is damaged",
		0x8024000E:        "the update's metadata is not valid",
		0x8024000F:        "updates depend on each other in a circle",
		0x80240010:        "updates depend on each other too deeply",
		eInProgress:       "another installation is at work, or a restart is due",
		eNotApplicable:    "it does not apply to this machine",
		0x80240018:        "a user's token is missing",
		0x80240019:        "an exclusive update can't be installed together with others",
		0x8024001A:        "a policy is not set as it must be",
		0x8024001B:        "the agent is updating itself",
		0x8024001D:        "the update's metadata is not valid",
		0x8024001E:        "the Windows Update service was stopped meanwhile",
		0x8024001F:        "there is no connection to the update server",
		0x80240020:        "nobody is signed in, whom the update needs",
		0x80240021:        "it took too long",
		0x80240022:        "every update of the operation failed",
		0x80240023:        "its licence terms were declined",
		0x80240024:        "no update was found",
		0x80240025:        "the machine's policy forbids access to Windows Update",
		0x80240026:        "the type of the update is not valid",
		0x80240028:        "it can't be removed",
		0x80240029:        "a WSUS server asks for a report first",
		0x8024002B:        "a request was not answered in time",
		0x8024002C:        "a difference needs the file that it builds on",
		0x8024002D:        "the update's installer needs its source, which was not found",
		0x8024002E:        "the machine's policy leaves updates to its own WSUS server alone",
		0x8024002F:        "the machine's policy forbids the call",
		0x80240030:        "the proxy list was not valid",
		0x80240031:        "the file has the wrong form",
		0x80240032:        "the search expression is not valid",
		0x80240033:        "its licence terms can't be fetched",
		0x80240034:        "the download failed",
		0x80240035:        "it was not processed",
		0x80240036:        "the object is not in a state for this",
		0x80240037:        "this system does not support it",
		0x80240038:        "the file's type is not supported",
		0x80240039:        "a folder's rights do not permit it",
		0x8024003A:        "the feature is off",
		0x8024003B:        "the update is not selected for download",
		0x80240042:        "the update service is not registered any more",
		0x80240043:        "this system lacks a mode of the display that the update needs",
		0x80240044:        "only administrators may do this",
		0x80240045:        "it was not accepted: an older service answered",
		0x80240058:        "the update needs a newer Windows Update Agent",
		eOtherInstall:     "another installation is at work",
		0x80240438:        "no route or no answer from the update server",
		0x80240FFF:        "an unexpected error of Windows Update",
		0x80241001:        "Windows Installer is too old",
		0x80241002:        "Windows Installer is not set up",
		0x80242006:        "the update's handler got metadata that is not valid",
		0x80242014:        "the update was installed and a restart is due before more",
		0x80242FFF:        "the update's handler failed unexpectedly",
		0x80243FFF:        "the user interface failed unexpectedly",
		0x80244007:        "the update server answered with a SOAP fault",
		0x80244010:        "the search asked the update server too often; it goes on at the next one",
		0x80244017:        "the update server wants a sign-in (HTTP 401)",
		0x80244018:        "the update server refuses (HTTP 403)",
		0x80244019:        "the update server does not have the file (HTTP 404)",
		0x8024401B:        "the proxy wants a sign-in (HTTP 407)",
		0x8024401C:        "the update server took too long (HTTP 408)",
		0x8024401F:        "the update server has an internal error (HTTP 500)",
		0x80244021:        "the proxy could not reach the update server (HTTP 502)",
		0x80244022:        "the update server is busy (HTTP 503)",
		0x80244023:        "the gateway to the update server took too long (HTTP 504)",
		0x8024402C:        "the update server's name can't be resolved, or the proxy is wrong",
		0x80245003:        "the redirection to the update service was not valid",
		0x80246001:        "the download's address is not valid",
		0x80246002:        "the downloaded file has the wrong hash",
		0x80246007:        "it is not downloaded",
		0x80246008:        "the download service (BITS) can't be reached",
		0x80247001:        "the scan file is not valid",
		0x80247002:        "the scan file needs a newer Windows Update Agent",
		0x80247FFF:        "searching with the scan file failed",
		0x80248007:        "the agent's data store lacks something",
		0x80248011:        "the agent's data store can't be opened now",
		0x8024A000:        "automatic updating can't serve the request",
		0x8024A005:        "no user agent of automatic updating runs",
		0x80070005:        "access was denied",
		0x8007000E:        "there is not enough memory",
		0x80070020:        "a file is in use by another process",
		0x80070070:        "the disk is full",
		0x80070422:        "the Windows Update service is switched off",
		0x8007043C:        "the service does not run in safe mode",
		0x80070643:        "fatal error during installation",
		0x80070652:        "another installation is at work",
		0x80070BC9:        "a restart is due before anything more can be changed",
		0x80072EE2:        "the update server did not answer in time",
		0x80072EE7:        "the update server's name can't be resolved",
		0x80072EFD:        "the update server can't be reached",
		0x80072EFE:        "the connection to the update server was cut",
		0x80072F8F:        "the secure connection to the update server failed: are the clock and the certificates right?",
		0x80073712:        "the component store is damaged",
		0x800F0823:        "it needs a newer servicing stack: install the servicing stack update that comes before it",
		0x800F0922:        "its installers failed; often the system's reserved partition is too small",
		0x80004001:        "this machine's Windows Update does not offer the function (E_NOTIMPL)",
		0x80004002:        "this machine's Windows Update lacks the interface (E_NOINTERFACE)",
		0x80004005:        "it failed without saying why (E_FAIL)",
		0x80020006:        "this machine's Windows Update does not know the function",
		0x80040154:        "Windows Update is not installed on this machine",
		0x8000FFFF:        "an unexpected error",
	}
}
