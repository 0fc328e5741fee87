/* wasi-libc has no setjmp.h without exceptions, and with sysroot /usr the compiler would use the native one. Lua is
 * built with its own LUAI_TRY and only needs the header to exist. */
