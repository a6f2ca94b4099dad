// Package wininstall tests Fettle's installers on throw-away Windows machines
// under Wine: real signed MSI packages and NSIS installers, Wine's msiexec and
// registry, the agent's own inventory before and after.
package wininstall
