#!/bin/sh
# Builds the agent's package for Windows Installer with wixl and msibuild.
#
#   packaging/msi/build.sh BINARY VERSION OUTDIR
#
# BINARY is a stripped fettle-agent.exe for amd64, VERSION such as 1.2.3 or what
# `git describe` makes of it. With SIGN_CERT and SIGN_KEY (PEM files; the
# certificate's chain behind it) the program and the package are signed;
# SIGN_TIMESTAMP is the address of an RFC 3161 time-stamping authority.
set -eu

if [ $# -ne 3 ]; then
	echo "usage: $0 BINARY VERSION OUTDIR" >&2
	exit 2
fi
binary=$1 label=$2 out=$3
for tool in wixl msibuild ${SIGN_CERT:+osslsigncode}; do
	if ! command -v "$tool" >/dev/null; then
		echo "$0: $tool is missing: apt-get install wixl msitools ${SIGN_CERT:+osslsigncode}" >&2
		exit 1
	fi
done
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(dirname -- "$(dirname -- "$here")")

# Windows Installer compares the first three numbers, and needs all of them.
version=$(printf '%s' "${label#v}" | sed -nE 's/^([0-9]+)\.([0-9]+)(\.([0-9]+))?([^0-9].*)?$/\1.\2.\4/p' | sed 's/\.$/.0/')
if [ -z "$version" ]; then
	version=0.0.0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$binary" "$work/fettle-agent.exe"
cp "$top/LICENSE" "$work/LICENSE.txt"

# sign FILE: sign a file in place, when there is a certificate.
sign() {
	if [ -z "${SIGN_CERT:-}" ]; then
		return
	fi
	osslsigncode sign -h sha256 -certs "$SIGN_CERT" -key "${SIGN_KEY:?is missing beside SIGN_CERT}" -n "Fettle Agent" \
		-i https://github.com/fettlehq/fettle ${SIGN_TIMESTAMP:+-ts "$SIGN_TIMESTAMP"} -in "$1" -out "$1.signed" >"$work/said" || {
		cat "$work/said" >&2
		return 1
	}
	mv "$1.signed" "$1"
}

sign "$work/fettle-agent.exe"

# A package with other content is another product to Windows Installer, and the
# same content must be the same package: of a product that it has, it refuses
# another package (1638).
sum=$({ printf '%s\n' "$label"; cat "$work/fettle-agent.exe" "$work/LICENSE.txt" "$here/agent.wxs" "$0"; } | sha256sum | tr 'a-f' 'A-F')
guid() { sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-5\3-8\4-\5/'; }
product=$(printf '%s' "$sum" | guid)
package=$(printf '%s' "$sum" | cut -c 33- | guid)

upgrade=$(sed -nE 's/.*UpgradeCode="([^"]*)".*/{\1}/p' "$here/agent.wxs")
msi=$work/agent.msi
# wixl finds its sources below the folder of the .wxs.
cp "$here/agent.wxs" "$work/agent.wxs"
wixl --arch x64 -D "Version=$version" -D "Label=$label" -D "ProductCode=$product" -o "$msi" "$work/agent.wxs"

# Types of actions, from Microsoft's "Custom Action Reference": 18 an installed
# program, 34 a program with a working folder; 1024 from the installation's
# script, 2048 as the system, 64 whatever it ends with, 8192 not in the log.
# What is in the script runs in the order of the sequence, and what fails there
# without 64 undoes the installation.
settled=$((1024 + 2048 + 64))
insert() {
	printf 'INSERT INTO `%s` (%s) VALUES (%s)' "$1" "$2" "$3"
}
action() { # NAME TYPE SOURCE TARGET
	insert CustomAction '`Action`,`Type`,`Source`,`Target`' "'$1',$2,'$3','$4'"
}
at() { # SEQUENCE NAME CONDITION
	insert InstallExecuteSequence '`Action`,`Condition`,`Sequence`' "'$2','$3',$1"
}
condition() { # CONDITION MESSAGE
	insert LaunchCondition '`Condition`,`Description`' "'$1','$2'"
}
msibuild "$msi" -s "Fettle Agent $label" Fettle 'x64;1033' "{$package}" # wixl makes up a package code
msibuild "$msi" \
	-q "$(condition 'Installed OR VersionNT64 >= 603' 'The Fettle Agent needs Windows 10, Windows Server 2016 or later, 64-bit.')" \
	-q "$(condition 'Installed OR Privileged' 'The Fettle Agent is installed for the whole machine: run this as administrator.')" \
	-q "$(condition 'Installed OR (NOT SERVER AND NOT TOKEN) OR (SERVER AND TOKEN AND CA AND ROOT)' \
		'SERVER enrols this machine and needs TOKEN, CA and ROOT beside it; fettle enroll-token prints all four.')" \
	-q "$(action ConfigureService $((18 + settled)) AgentExe 'service install')" \
	-q "$(at 5810 ConfigureService 'NOT (REMOVE~="ALL")')" \
	-q "$(action Enrol $((18 + 1024 + 2048 + 8192)) AgentExe 'enroll "[SERVER]" --token "[TOKEN]" --ca "[CA]" --root "[ROOT]" --proxy "[PROXY]" --if-needed')" \
	-q "$(at 5820 Enrol 'SERVER AND NOT (REMOVE~="ALL")')" \
	-q "$(action ForgetService $((18 + settled)) AgentExe 'service uninstall')" \
	-q "$(at 1890 ForgetService 'REMOVE~="ALL" AND NOT UPGRADINGPRODUCTCODE')" \
	-q "$(action Purge $((34 + settled)) INSTALLDIR '"[System64Folder]cmd.exe" /c rmdir /s /q "[CommonAppDataFolder]Fettle"')" \
	-q "$(at 3400 Purge 'PURGE AND REMOVE~="ALL" AND NOT UPGRADINGPRODUCTCODE')" \
	-q "$(insert Property '`Property`,`Value`' "'MsiHiddenProperties','TOKEN;Enrol'")" \
	-q 'UPDATE `Property` SET `Value`='"'SERVER;TOKEN;CA;ROOT;PROXY;PURGE;WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED'"' WHERE `Property`='"'SecureCustomProperties'" \
	-q 'DELETE FROM `Upgrade` WHERE `ActionProperty`='"'WIX_UPGRADE_DETECTED'" \
	-q "$(insert Upgrade '`UpgradeCode`,`VersionMax`,`Attributes`,`ActionProperty`' "'$upgrade','$version',513,'WIX_UPGRADE_DETECTED'")" \
	-q 'UPDATE `InstallExecuteSequence` SET `Sequence`=1510 WHERE `Action`='"'RemoveExistingProducts'"

sign "$msi"
mkdir -p "$out"
name="$out/fettle-agent-${label#v}-amd64.msi"
mv "$msi" "$name"
echo "$name"
