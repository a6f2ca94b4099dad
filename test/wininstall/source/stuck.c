/* An installer that is not silent: it starts a child, shows a window and waits
 * for somebody to close it. The child writes its process id and waits too. */
#include <windows.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	char self[MAX_PATH], line[MAX_PATH + 16];
	if (argc > 1 && !strcmp(argv[1], "child")) {
		FILE *f = fopen("C:\\lab\\stuck.pid", "w");
		if (f) {
			fprintf(f, "%lu", GetCurrentProcessId());
			fclose(f);
		}
		Sleep(INFINITE);
	}
	CreateDirectoryA("C:\\lab", NULL);
	GetModuleFileNameA(NULL, self, sizeof self);
	snprintf(line, sizeof line, "\"%s\" child", self);
	STARTUPINFOA si = { sizeof si };
	PROCESS_INFORMATION pi;
	CreateProcessA(self, line, NULL, NULL, FALSE, 0, NULL, NULL, &si, &pi);
	if (MessageBoxA(NULL, "Do you accept?", "Stuck Setup", MB_YESNO) <= 0)
		Sleep(INFINITE); /* nowhere to show a window */
	return 0;
}
