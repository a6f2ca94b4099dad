/* The program that test software installs: it prints its version, so that one
 * sees which file is there. */
#include <windows.h>
#include <string.h>

int main(void)
{
	DWORD written;
	WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), VERSION "\n", sizeof VERSION, &written, NULL);
	return 0;
}
