#!/bin/sh
# Builds the Debian package of the agent with dpkg-deb alone.
#
#   packaging/deb/build.sh BINARY VERSION ARCH OUTDIR
#
# BINARY is a stripped, static fettle-agent for ARCH (amd64, arm64). The same
# input gives the same bytes: times come from SOURCE_DATE_EPOCH (default: the
# last commit).
set -eu

if [ $# -ne 4 ]; then
	echo "usage: $0 BINARY VERSION ARCH OUTDIR" >&2
	exit 2
fi
binary=$1 version=$2 arch=$3 out=$4
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(dirname -- "$(dirname -- "$here")")
: "${SOURCE_DATE_EPOCH:=$(git -C "$top" log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
umask 022

install -D -m 0755 "$binary" "$root/usr/bin/fettle-agent"
install -D -m 0644 "$top/packaging/systemd/fettle-agent.service" "$root/lib/systemd/system/fettle-agent.service"
install -D -m 0644 "$top/LICENSE" "$root/usr/share/doc/fettle-agent/copyright"
mkdir -p "$root/etc/fettle-agent" "$root/DEBIAN"
install -m 0755 "$here/postinst" "$here/prerm" "$here/postrm" "$root/DEBIAN/"

size=$(du -sk --apparent-size "$root" | cut -f1)
cat >"$root/DEBIAN/control" <<CONTROL
Package: fettle-agent
Version: $version
Architecture: $arch
Maintainer: Fettle <packages@fettle.example>
Installed-Size: $size
Depends: apt, dpkg
Recommends: systemd
Section: admin
Priority: optional
Homepage: https://github.com/fettlehq/fettle
Description: patch management agent
 Takes the machine's inventory, compares it with a signed catalog, and brings
 the machine level when its server says so. It installs nothing that does not
 stand in the signed catalog, needs no listening port and no route to a vendor.
CONTROL

mkdir -p "$out"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/fettle-agent_${version}_${arch}.deb"
