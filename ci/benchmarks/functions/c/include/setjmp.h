/* wasi-libc has none without exceptions, and with sysroot /usr the compiler would take the native one. Lua is built with a
 * LUAI_TRY of its own and needs only the name of the header. */
