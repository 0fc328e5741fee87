/* SQLite answers queries over a database of several megabytes with a much smaller cache, so that it reads pages
 * constantly: in form B by host calls that may block, at the bottom of every SQLite call stack. */
#include "bench.h"

#include "sqlite3.c"

#include "sqlite_vfs.h"

enum { ORDERS = 20000, CUSTOMERS = 1000, LOOKUPS = 2000 };

static sqlite3 *database;

static void check(int code, int expected) {
    if (code == expected) return;
    printf("sqlite: %d, %s\n", code, sqlite3_errmsg(database));
    abort();
}

static void run(const char *sql) {
    check(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
}

static sqlite3_stmt *statement(const char *sql) {
    sqlite3_stmt *made;
    check(sqlite3_prepare_v2(database, sql, -1, &made, NULL), SQLITE_OK);
    return made;
}

static void prepare(void) {
    check(sqlite3_open("bench.db", &database), SQLITE_OK);
    run("PRAGMA journal_mode = MEMORY; PRAGMA cache_size = 60; PRAGMA temp_store = MEMORY;"
        "CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);"
        "CREATE TABLE sale(id INTEGER PRIMARY KEY, customer INT, item TEXT, count INT, price REAL);"
        "CREATE INDEX sale_customer ON sale(customer);"
        "BEGIN");
    uint32_t seed = 7;
    sqlite3_stmt *insert = statement("INSERT INTO customer VALUES(?1, printf('customer %04d', ?2), "
                                     "substr('AmsterdamBerlinCairoDelhiEdinburgh', 1 + ?2 % 26, 8))");
    for (int i = 0; i < CUSTOMERS; i++) {
        sqlite3_bind_int(insert, 1, i);
        sqlite3_bind_int(insert, 2, (int)(next_random(&seed) % 10000));
        check(sqlite3_step(insert), SQLITE_DONE);
        check(sqlite3_reset(insert), SQLITE_OK);
    }
    check(sqlite3_finalize(insert), SQLITE_OK);
    insert = statement("INSERT INTO sale VALUES(?1, ?2, printf('item %08x of %d', ?3, ?2), ?3 % 17, ?3 / 7.0)");
    for (int i = 0; i < ORDERS; i++) {
        sqlite3_bind_int(insert, 1, i);
        sqlite3_bind_int(insert, 2, (int)(next_random(&seed) % CUSTOMERS));
        sqlite3_bind_int(insert, 3, (int)next_random(&seed));
        check(sqlite3_step(insert), SQLITE_DONE);
        check(sqlite3_reset(insert), SQLITE_OK);
    }
    check(sqlite3_finalize(insert), SQLITE_OK);
    run("COMMIT; ANALYZE");
}

/* Hashes all rows of a query, as text. */
static uint64_t hash_rows(uint64_t hash, sqlite3_stmt *query) {
    int code;
    while ((code = sqlite3_step(query)) == SQLITE_ROW) {
        for (int column = 0; column < sqlite3_column_count(query); column++) {
            const unsigned char *text = sqlite3_column_text(query, column);
            hash = hash_bytes(hash, text, (size_t)sqlite3_column_bytes(query, column));
        }
    }
    check(code, SQLITE_DONE);
    check(sqlite3_reset(query), SQLITE_OK);
    return hash;
}

static const char *const QUERIES[] = {
    "SELECT city, count(*), sum(count * price) FROM sale JOIN customer ON customer = customer.id "
    "GROUP BY city ORDER BY 3 DESC",
    "SELECT count(*), max(length(replace(item, 'item', 'a longer item'))) FROM sale WHERE item LIKE '%ab%'",
    "SELECT name, (SELECT sum(count) FROM sale WHERE customer = c.id AND price > 1e5) AS sold "
    "FROM customer c ORDER BY sold DESC, name LIMIT 20",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
    "SELECT sum(i * i % 7), group_concat(CASE WHEN i % 997 = 0 THEN i END) FROM n",
    "SELECT json_group_array(json_object('id', id, 'name', upper(name))) FROM customer WHERE id % 5 = 0",
};

static uint64_t run_round(void) {
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < sizeof QUERIES / sizeof *QUERIES; i++) {
        sqlite3_stmt *query = statement(QUERIES[i]);
        hash = hash_rows(hash, query);
        check(sqlite3_finalize(query), SQLITE_OK);
    }
    sqlite3_stmt *lookup = statement("SELECT item, name FROM sale JOIN customer ON customer = customer.id WHERE sale.id = ?1");
    uint32_t seed = 99;
    for (int i = 0; i < LOOKUPS; i++) {
        sqlite3_bind_int(lookup, 1, (int)(next_random(&seed) % ORDERS));
        hash = hash_rows(hash, lookup);
    }
    check(sqlite3_finalize(lookup), SQLITE_OK);
    run("BEGIN; UPDATE sale SET count = count + 1, item = item || '!' WHERE customer % 50 = 3");
    sqlite3_stmt *changed = statement("SELECT sum(count), sum(length(item)) FROM sale");
    hash = hash_rows(hash, changed);
    check(sqlite3_finalize(changed), SQLITE_OK);
    run("ROLLBACK");
    return hash;
}
