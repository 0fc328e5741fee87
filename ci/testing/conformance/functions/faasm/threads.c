// POSIX threads in a single-threaded program: the imports of plain C++ streams, one-time initialisers and thread-local
// values.
#define HEAP_SBRK
#include "libc.h"

#define ONE(name, ...) HOST(pthread_##name) i32 name(__VA_ARGS__);
ONE(mutex_init, u32 *, void *) ONE(mutex_destroy, u32 *) ONE(mutex_lock, u32 *) ONE(mutex_trylock, u32 *)
ONE(mutex_unlock, u32 *) ONE(mutexattr_init, u32 *) ONE(mutexattr_destroy, u32 *) ONE(mutexattr_settype, u32 *, i32)
ONE(rwlock_init, u32 *, void *) ONE(rwlock_destroy, u32 *) ONE(rwlock_rdlock, u32 *) ONE(rwlock_wrlock, u32 *)
ONE(rwlock_unlock, u32 *) ONE(cond_init, u32 *, void *) ONE(cond_destroy, u32 *) ONE(cond_signal, u32 *)
ONE(cond_broadcast, u32 *) ONE(attr_init, u32 *) ONE(attr_destroy, u32 *) ONE(attr_setstacksize, u32 *, u32)
ONE(attr_setdetachstate, u32 *, i32) ONE(self, void) ONE(equal, i32, i32) ONE(once, u32 *, void (*)(void))
ONE(key_create, u32 *, void *) ONE(key_delete, u32) ONE(setspecific, u32, void *) HOST(pthread_getspecific) void *getspecific(u32 key);
HOST(__faasm_pull_state) void faasm_pull_state(const char *key, i32 length);
HOST(__faasm_read_state) i32 faasm_read_state(const char *key, void *buffer, i32 length);

static i32 runs = 0;
static char seen[8];

// In a page, suspends with `pthread_once` on the stack.
static void initialise(void) {
    faasm_pull_state("k", 4);
    faasm_read_state("k", seen, 4);
    runs++;
}

EXPORT(_start) void entry(void) {
    u32 object[16] = {0};
    i32 failed = mutexattr_init(object) | mutexattr_settype(object, 1) | mutex_init(object, NULL) | mutex_lock(object) |
                 mutex_trylock(object) | mutex_unlock(object) | mutex_destroy(object) | mutexattr_destroy(object);
    failed |= rwlock_init(object, NULL) | rwlock_rdlock(object) | rwlock_unlock(object) | rwlock_wrlock(object) |
              rwlock_unlock(object) | rwlock_destroy(object);
    failed |= cond_init(object, NULL) | cond_signal(object) | cond_broadcast(object) | cond_destroy(object);
    failed |= attr_init(object) | attr_setstacksize(object, 65536) | attr_setdetachstate(object, 1) | attr_destroy(object);
    say("failed", failed);
    say("self", equal(self(), self()));
    u32 control = 0;
    say("once", once(&control, initialise));
    say("again", once(&control, initialise));
    say("runs", runs);
    say_text("seen", seen);
    u32 key = 0;
    say("key", key_create(&key, NULL));
    say("at first", (u32)getspecific(key));
    say("set", setspecific(key, &key));
    say("is", getspecific(key) == &key);
    say("deleted", key_delete(key));
    say("set then", setspecific(key, NULL));
    write_said();
    free(malloc(1));
}
