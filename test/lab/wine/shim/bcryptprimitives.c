/*
 * bcryptprimitives.dll for Wine before 8.10, which lacks it: Go programs since
 * Go 1.22 take their random bytes from its ProcessPrng and end at once without.
 *
 * ProcessPrng fills a buffer and always returns TRUE on Windows. Here the bytes
 * come from RtlGenRandom, which advapi32 exports as SystemFunction036 and which
 * takes a 32-bit length.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
	while (length > 0) {
		ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
		if (!SystemFunction036(buffer, part))
			return FALSE;
		buffer += part;
		length -= part;
	}
	return TRUE;
}

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
	(void)instance, (void)reason, (void)reserved;
	return TRUE;
}
