Unicode true
Target ${TARGET}-unicode
Name "${NAME}"
OutFile "${OUT}"
InstallDir "$PROGRAMFILES64\${FOLDER}"
RequestExecutionLevel admin
SilentInstall normal
VIProductVersion "${QUAD}"
VIAddVersionKey "ProductName" "${NAME}"
VIAddVersionKey "CompanyName" "${COMPANY}"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "FileDescription" "${NAME} setup"
VIAddVersionKey "LegalCopyright" "-"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\${FOLDER}"
!include LogicLib.nsh

; A line per start and per end, for tests that count.
!macro Note what
 FileOpen $9 "C:\lab\${FOLDER}.log" a
 FileSeek $9 0 END
 FileWrite $9 "${what} ${VERSION}$\r$\n"
 FileClose $9
!macroend

Section
 CreateDirectory "C:\lab"
 !insertmacro Note "begin"
!if ${ENDING} == failed
 SetErrorLevel 1603
 Quit
!endif
!if ${ENDING} == busy
 SetErrorLevel 1618
 Quit
!endif
!if ${ENDING} == busyonce
 ${IfNot} ${FileExists} "C:\lab\${FOLDER}.busy"
  FileOpen $0 "C:\lab\${FOLDER}.busy" w
  FileClose $0
  SetErrorLevel 1618
  Quit
 ${EndIf}
!endif
!if ${ENDING} == slow
 ; Waits for up to two minutes, until somebody makes the file.
 StrCpy $1 0
 ${DoUntil} ${FileExists} "C:\lab\${FOLDER}.go"
  Sleep 100
  IntOp $1 $1 + 1
  ${If} $1 > 1200
   SetErrorLevel 1602
   Quit
  ${EndIf}
 ${Loop}
!endif
 SetRegView 64
 SetOutPath "$INSTDIR"
 File "/oname=app.exe" "${SOURCE}"
 WriteUninstaller "$INSTDIR\uninst.exe"
 WriteRegStr HKLM "${KEY}" "DisplayName" "${NAME}"
 WriteRegStr HKLM "${KEY}" "DisplayVersion" "${VERSION}"
 WriteRegStr HKLM "${KEY}" "Publisher" "${COMPANY}"
 WriteRegStr HKLM "${KEY}" "InstallLocation" "$INSTDIR"
 WriteRegStr HKLM "${KEY}" "UninstallString" '"$INSTDIR\uninst.exe"'
 WriteRegStr HKLM "${KEY}" "QuietUninstallString" '"$INSTDIR\uninst.exe" /S'
 !insertmacro Note "end"
!if ${ENDING} == reboot
 SetErrorLevel 3010
!endif
SectionEnd

Section Uninstall
 SetRegView 64
 !insertmacro Note "remove"
 Delete "$INSTDIR\app.exe"
 Delete "$INSTDIR\uninst.exe"
 RMDir "$INSTDIR"
 DeleteRegKey HKLM "${KEY}"
SectionEnd
