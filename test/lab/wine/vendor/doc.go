// Package vendor makes software for Windows as vendors bring it out: signed
// MSI packages and NSIS installers, version by version, and their manifests in
// the layout of winget's community repository.
//
// Everything is made on the spot, keys and certificates too. Besides software
// that installs, there is software that ends as real installers do: with a due
// restart (3010), a failure (1603), another installation in progress (1618), a
// stranger's signature, or with 0 and nothing done.
package vendor
