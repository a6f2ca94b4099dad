/*
 * labrun STATUSFILE COMMAND LINE...
 *
 * Runs the rest of its command line, which it passes on letter by letter, and
 * writes the exit code in decimal to STATUSFILE: a Unix caller of wine sees only
 * the last 8 bits of it, and Windows Installer says 1603 or 3010. A program that
 * could not be started leaves "start N", N being the error of CreateProcess.
 */
#include <windows.h>
#include <stdio.h>

/* skip goes past one argument as CommandLineToArgvW parts them; neither of the
 * two that are skipped has a quote in it. */
static wchar_t *skip(wchar_t *at)
{
	int quoted = 0;
	for (; *at && (quoted || (*at != L' ' && *at != L'\t')); at++)
		if (*at == L'"')
			quoted = !quoted;
	while (*at == L' ' || *at == L'\t')
		at++;
	return at;
}

int main(void)
{
	STARTUPINFOW start = { .cb = sizeof start };
	PROCESS_INFORMATION process;
	DWORD code = 0;
	int count = 0;
	wchar_t *rest = skip(GetCommandLineW());
	wchar_t **argv = CommandLineToArgvW(GetCommandLineW(), &count);
	FILE *status;

	if (!argv || count < 3) {
		fputs("usage: labrun STATUSFILE COMMAND LINE...\n", stderr);
		return 2;
	}
	rest = skip(rest);
	status = _wfopen(argv[1], L"w");
	if (!status) {
		fputs("labrun: the status file cannot be written\n", stderr);
		return 2;
	}
	if (!CreateProcessW(NULL, rest, NULL, NULL, TRUE, 0, NULL, NULL, &start, &process)) {
		fprintf(status, "start %lu", GetLastError());
		fclose(status);
		return 1;
	}
	WaitForSingleObject(process.hProcess, INFINITE);
	GetExitCodeProcess(process.hProcess, &code);
	fprintf(status, "%lu", code);
	fclose(status);
	return 0;
}
