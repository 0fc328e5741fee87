/* Lua runs a script in which `read(i)` is a C function that reads eight bytes of the source: in form B a host call that
 * may block, called by the interpreter's main loop.
 *
 * Without exceptions, errors of the script cannot be caught and would end the program; the script raises none. */
#include "bench.h"

#define LUAI_THROW(L, c) abort()
#define LUAI_TRY(L, c, a) { a }
#define luai_jmpbuf int
#define l_signalT int
#define luai_makeseed(L) 1
#define l_randomizePivot() 1

/* No files: opening one may block, and since `dofile` is called like any function of a script, all of Lua could
 * suspend. */
#define fopen(path, mode) ((FILE *)NULL)
#define freopen(path, mode, file) ((FILE *)NULL)

/* All of Lua in one translation unit, so that unused code is removed. */
#define LUA_CORE
#define LUA_LIB
#define ltable_c
#define lvm_c
#define LUA_API static
#define LUALIB_API static
#define LUAMOD_API static
#include "lprefix.h"
#include "luaconf.h"
#undef LUAI_FUNC
#undef LUAI_DDEC
#undef LUAI_DDEF
#define LUAI_FUNC static
#define LUAI_DDEC(def)
#define LUAI_DDEF static

#include "lzio.c"
#include "lctype.c"
#include "lopcodes.c"
#include "lmem.c"
#include "lundump.c"
#include "ldump.c"
#include "lstate.c"
#include "lgc.c"
#include "llex.c"
#include "lcode.c"
#include "lparser.c"
#include "ldebug.c"
#include "lfunc.c"
#include "lobject.c"
#include "ltm.c"
#include "lstring.c"
#include "ltable.c"
#include "ldo.c"
#include "lvm.c"
#include "lapi.c"
#include "lauxlib.c"
#include "lbaselib.c"
#include "lcorolib.c"
#include "ldblib.c"
#include "lmathlib.c"
#include "lstrlib.c"
#include "ltablib.c"
#include "lutf8lib.c"

enum { NUMBERS = 4096 };

static const char SCRIPT[] =
    "local read, numbers = ...\n"
    "local Account = {}\n"
    "Account.__index = Account\n"
    "Account.__add = function(a, b) return setmetatable({ sum = a.sum + b.sum }, Account) end\n"
    "function Account.new(sum) return setmetatable({ sum = sum }, Account) end\n"
    "function Account:put(sum) self.sum = (self.sum * 31 + sum) & 0xffffffff end\n"
    "local function queens(n, row, columns, up, down)\n"
    "  if row > n then return 1 end\n"
    "  local found = 0\n"
    "  for column = 1, n do\n"
    "    local u, d = row + column, row - column + n\n"
    "    if not (columns[column] or up[u] or down[d]) then\n"
    "      columns[column], up[u], down[d] = true, true, true\n"
    "      found = found + queens(n, row + 1, columns, up, down)\n"
    "      columns[column], up[u], down[d] = nil, nil, nil\n"
    "    end\n"
    "  end\n"
    "  return found\n"
    "end\n"
    "return function()\n"
    "  local account, words = Account.new(1), {}\n"
    "  for i = 0, 40000 do\n"
    "    local number = read(i % numbers)\n"
    "    local word = 'w' .. number % 997\n"
    "    words[word] = (words[word] or 0) + (number >> 7) % 13\n"
    "    account:put(number)\n"
    "  end\n"
    "  local names = {}\n"
    "  for name in pairs(words) do names[#names + 1] = name end\n"
    "  table.sort(names, function(a, b)\n"
    "    local x, y = words[a], words[b]\n"
    "    if x ~= y then return x < y end\n"
    "    return a < b\n"
    "  end)\n"
    "  local text = table.concat(names, ' ')\n"
    "  text = text:gsub('w(%d+)', function(digits) return digits:reverse() end)\n"
    "  for i = 1, #text, 7 do account:put(text:byte(i)) end\n"
    "  for i = 1, 20000 do account = account + Account.new(i % 11) end\n"
    "  account:put(queens(7, 1, {}, {}, {}))\n"
    "  local sines = 0.0\n"
    "  for i = 1, 100000 do sines = sines + math.sin(i) * (i % 3) end\n"
    "  account:put(math.floor(sines * 1000))\n"
    "  return account.sum & 0xffffffff\n"
    "end\n";

static lua_State *state;

static int read_number(lua_State *L) {
    lua_Integer number = 0;
    source_read((uint32_t)luaL_checkinteger(L, 1) * sizeof number, &number, sizeof number);
    lua_pushinteger(L, number);
    return 1;
}

/* Leaves the round's function on the stack. */
static void prepare(void) {
    uint32_t seed = 7;
    for (uint32_t i = 0; i < NUMBERS; i++) {
        lua_Integer number = next_random(&seed);
        source_write(i * sizeof number, &number, sizeof number);
    }
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},           {LUA_COLIBNAME, luaopen_coroutine},
        {LUA_TABLIBNAME, luaopen_table},     {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math},     {LUA_UTF8LIBNAME, luaopen_utf8},
        {LUA_DBLIBNAME, luaopen_debug},
    };
    state = luaL_newstate();
    if (state == NULL) abort();
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        luaL_requiref(state, libraries[i].name, libraries[i].func, 1);
        lua_pop(state, 1);
    }
    if (luaL_loadbuffer(state, SCRIPT, sizeof SCRIPT - 1, "script") != LUA_OK) abort();
    lua_pushcfunction(state, read_number);
    lua_pushinteger(state, NUMBERS);
    lua_call(state, 2, 1);
}

static uint64_t run_round(void) {
    lua_pushvalue(state, -1);
    lua_call(state, 0, 1);
    int64_t result = lua_tointeger(state, -1);
    lua_pop(state, 1);
    return hash_number(HASH_START, result);
}
