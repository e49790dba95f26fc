/*
 * bench_engine.cc -- the engine beside LevelDB, RocksDB and LMDB, in one run.
 *
 *     bench_engine [n=200000] [rounds=1] [memory=MiB] [dir=/tmp] [tsv=FILE]
 *                  [only=ENGINE,...] [rows=ROW,...]
 *
 * Each engine is a process of its own (this program again), so that its memory,
 * processor time and bytes written are its own; the driver gives them one row of the table
 * after the other and waits between two until the engine's background work is done (no
 * processor time used for 0.3 s), which counts for its processor time and its bytes.
 * The same memory for all: `memory`, by default 96 bytes a row, so that a small run
 * puts the same load on tables and caches as a large one.
 *
 * Every value is compared: values are made from the row and a version, which is their first
 * byte. Point reads know the version, scans compare a sum over all keys and values with
 * what it must be, and a reader beside a writer accepts each version that was made.
 *
 * C++ because LevelDB and RocksDB are: their C interfaces copy every value once more.
 */
#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>
#include <lmdb.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>

#include "lsm/lsm.h"

namespace {

[[noreturn]] __attribute__((format(printf, 1, 2)))
void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(nullptr);
    _exit(1);
}

uint64_t now_ns()
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct bytes {
    const char *data;
    size_t size;
};

/* ---- the engines ---- */

struct write {
    bytes key, value;           /* value.data == nullptr: delete */
};

/*
 * What a row of the table needs. Every failure ends the process. A thread has
 * its number, 0 or 1: only 0 writes and scans.
 */
struct engine {
    virtual ~engine() {}
    virtual void open(const char *dir, uint64_t memory) = 0;    /* as it was left, or new */
    virtual void close() = 0;
    virtual void apply(const write *writes, size_t count, bool sync) = 0;   /* all or nothing */
    /* The value is valid until this thread's next call; false: there is none. */
    virtual bool get(int thread, bytes key, bytes *value) = 0;
    /* Visit rows from `key` (nullptr: the first, or the last if backward) while fn says so. */
    virtual void scan(const bytes *key, bool backward,
                      const std::function<bool(bytes key, bytes value)> &fn) = 0;
};

struct lsm_engine : engine {
    struct lsm_db *db = nullptr;
    struct lsm_tree *tree = nullptr;
    struct lsm_value value[2] = {};
    struct lsm_cursor *cursor = nullptr;

    static void check(int rc, const char *what)
    {
        if (rc != LSM_OK)
            die("lsm: %s: %s", what, lsm_error_text());
    }
    static struct lsm_slice slice(bytes b) { return { (const uint8_t *)b.data, b.size }; }

    void open(const char *dir, uint64_t memory) override
    {
        struct lsm_options options;
        struct lsm_slice name = { (const uint8_t *)"t", 1 };

        lsm_options_init(&options);
        options.create_if_missing = true;
        options.memory_bytes = memory;
        check(lsm_db_open((std::string(dir) + "/lsm").c_str(), &options, &db), "open");
        if (lsm_tree_find(db, name, &tree) == LSM_NOTFOUND)
            check(lsm_tree_create(db, name, nullptr, &tree), "create");
    }
    void close() override
    {
        lsm_value_release(&value[0]);
        lsm_value_release(&value[1]);
        lsm_cursor_close(cursor);
        cursor = nullptr;
        check(lsm_db_close(db), "close");
        db = nullptr;
    }
    void apply(const write *writes, size_t count, bool sync) override
    {
        struct lsm_txn *txn;

        if (count == 1) {
            check(writes->value.data ? lsm_db_put(db, tree, slice(writes->key),
                                                  slice(writes->value), sync)
                                     : lsm_db_delete(db, tree, slice(writes->key), sync), "write");
            return;
        }
        check(lsm_txn_begin(db, nullptr, &txn), "begin");
        for (size_t i = 0; i < count; i++)
            check(writes[i].value.data ? lsm_txn_put(txn, tree, slice(writes[i].key),
                                                     slice(writes[i].value))
                                       : lsm_txn_delete(txn, tree, slice(writes[i].key)), "write");
        check(lsm_txn_commit_alone(txn, sync), "commit");
    }
    bool get(int thread, bytes key, bytes *out) override
    {
        int rc;

        lsm_value_release(&value[thread]);
        rc = lsm_tree_get(tree, nullptr, slice(key), &value[thread]);
        if (rc == LSM_NOTFOUND)
            return false;
        check(rc, "get");
        *out = { (const char *)value[thread].bytes.data, value[thread].bytes.size };
        return true;
    }
    void scan(const bytes *key, bool backward,
              const std::function<bool(bytes, bytes)> &fn) override
    {
        int rc;

        check(cursor ? lsm_cursor_reopen(cursor, tree, nullptr)
                     : lsm_cursor_open(tree, nullptr, &cursor), "cursor");
        rc = backward ? key ? lsm_cursor_seek_prev(cursor, slice(*key)) : lsm_cursor_last(cursor)
                      : key ? lsm_cursor_seek(cursor, slice(*key)) : lsm_cursor_first(cursor);
        for (; rc == LSM_OK; rc = backward ? lsm_cursor_prev(cursor) : lsm_cursor_next(cursor)) {
            struct lsm_slice k = lsm_cursor_key(cursor), v = lsm_cursor_value(cursor);

            if (!fn({ (const char *)k.data, k.size }, { (const char *)v.data, v.size }))
                return;
        }
        if (rc != LSM_DONE)
            check(rc, "scan");
    }
};

const char lsm_describe[] = "memory_bytes = memory; defaults";

/* LevelDB and RocksDB have one interface, in two name spaces. */
template <class DB, class Batch, class ReadOptions, class WriteOptions, class Iterator, class Slice,
          class Found>
struct level_engine : engine {
    DB *db = nullptr;
    Found found[2];

    template <class Status>
    static void check(const Status &status, const char *what)
    {
        if (!status.ok())
            die("%s: %s", what, status.ToString().c_str());
    }
    void apply(const write *writes, size_t count, bool sync) override
    {
        WriteOptions options;
        Batch batch;

        options.sync = sync;
        if (count == 1) {
            Slice key(writes->key.data, writes->key.size);

            check(writes->value.data
                      ? db->Put(options, key, Slice(writes->value.data, writes->value.size))
                      : db->Delete(options, key), "write");
            return;
        }
        for (size_t i = 0; i < count; i++) {
            Slice key(writes[i].key.data, writes[i].key.size);

            if (writes[i].value.data)
                batch.Put(key, Slice(writes[i].value.data, writes[i].value.size));
            else
                batch.Delete(key);
        }
        check(db->Write(options, &batch), "write");
    }
    void scan(const bytes *key, bool backward,
              const std::function<bool(bytes, bytes)> &fn) override
    {
        std::unique_ptr<Iterator> it(db->NewIterator(ReadOptions()));

        if (key)
            it->Seek(Slice(key->data, key->size));
        else if (backward)
            it->SeekToLast();
        else
            it->SeekToFirst();
        for (; it->Valid(); backward ? it->Prev() : it->Next())
            if (!fn({ it->key().data(), it->key().size() },
                    { it->value().data(), it->value().size() }))
                return;
        check(it->status(), "scan");
    }
};

struct leveldb_engine : level_engine<leveldb::DB, leveldb::WriteBatch, leveldb::ReadOptions,
                                     leveldb::WriteOptions, leveldb::Iterator, leveldb::Slice,
                                     std::string> {
    std::unique_ptr<leveldb::Cache> cache;
    std::unique_ptr<const leveldb::FilterPolicy> filter;

    void open(const char *dir, uint64_t memory) override
    {
        leveldb::Options o;

        cache.reset(leveldb::NewLRUCache(memory / 3));
        filter.reset(leveldb::NewBloomFilterPolicy(10));
        o.create_if_missing = true;
        o.write_buffer_size = memory / 3;       /* two of them */
        o.block_cache = cache.get();
        o.filter_policy = filter.get();
        check(leveldb::DB::Open(o, std::string(dir) + "/leveldb", &db), "leveldb open");
    }
    void close() override
    {
        delete db;
    }
    bool get(int thread, bytes key, bytes *value) override
    {
        leveldb::Status status = db->Get(leveldb::ReadOptions(), leveldb::Slice(key.data, key.size),
                                         &found[thread]);

        if (status.IsNotFound())
            return false;
        check(status, "get");
        *value = { found[thread].data(), found[thread].size() };
        return true;
    }
};

const char leveldb_describe[] =
    "write_buffer_size = memory/3 (two), block_cache = memory/3, bloom 10, snappy, 4K blocks";

struct rocksdb_engine : level_engine<rocksdb::DB, rocksdb::WriteBatch, rocksdb::ReadOptions,
                                     rocksdb::WriteOptions, rocksdb::Iterator, rocksdb::Slice,
                                     rocksdb::PinnableSlice> {
    void open(const char *dir, uint64_t memory) override
    {
        rocksdb::BlockBasedTableOptions t;
        rocksdb::Options o;

        t.block_cache = rocksdb::NewLRUCache(memory / 3);
        t.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
        t.block_size = 8192;
        t.format_version = 5;
        o.create_if_missing = true;
        o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(t));
        o.write_buffer_size = memory / 3;
        o.max_write_buffer_number = 2;
        o.compression = rocksdb::kLZ4Compression;
        o.bottommost_compression = rocksdb::kZSTD;
        o.level_compaction_dynamic_level_bytes = true;
        o.max_background_jobs = 2;
        o.enable_blob_files = true;
        o.min_blob_size = 1024;
        o.blob_compression_type = rocksdb::kLZ4Compression;
        check(rocksdb::DB::Open(o, std::string(dir) + "/rocksdb", &db), "rocksdb open");
    }
    void close() override
    {
        found[0].Reset();
        found[1].Reset();
        check(db->Close(), "close");
        delete db;
    }
    bool get(int thread, bytes key, bytes *value) override
    {
        rocksdb::Status status;

        found[thread].Reset();
        status = db->Get(rocksdb::ReadOptions(), db->DefaultColumnFamily(),
                         rocksdb::Slice(key.data, key.size), &found[thread]);
        if (status.IsNotFound())
            return false;
        check(status, "get");
        *value = { found[thread].data(), found[thread].size() };
        return true;
    }
};

const char rocksdb_describe[] =
    "write_buffer_size = memory/3 (two), block_cache = memory/3, bloom 10, lz4, zstd at the bottom, "
    "8K blocks, dynamic levels, 2 background jobs, blob files from 1K";

struct lmdb_engine : engine {
    MDB_env *env = nullptr;
    MDB_dbi dbi = 0;
    MDB_txn *reader[2] = {};
    bool active[2] = {};

    static void check(int rc, const char *what)
    {
        if (rc != 0)
            die("lmdb: %s: %s", what, mdb_strerror(rc));
    }
    static MDB_val val(bytes b) { return { b.size, (void *)b.data }; }

    void open(const char *dir, uint64_t memory) override
    {
        std::string path = std::string(dir) + "/lmdb";
        MDB_txn *txn;

        (void)memory;
        mkdir(path.c_str(), 0755);
        check(mdb_env_create(&env), "create");
        check(mdb_env_set_mapsize(env, (size_t)32 << 30), "mapsize");
        check(mdb_env_open(env, path.c_str(), MDB_NOSYNC | MDB_WRITEMAP | MDB_NOTLS, 0644), "open");
        check(mdb_txn_begin(env, nullptr, 0, &txn), "begin");
        check(mdb_dbi_open(txn, nullptr, 0, &dbi), "dbi");
        check(mdb_txn_commit(txn), "commit");
    }
    void close() override
    {
        for (MDB_txn *&txn : reader) {
            if (txn)
                mdb_txn_abort(txn);
            txn = nullptr;
        }
        active[0] = active[1] = false;
        check(mdb_env_sync(env, 1), "sync");
        mdb_env_close(env);
    }
    /* A snapshot that ends with the thread's next call, as the others' reads do. */
    MDB_txn *read(int thread)
    {
        end_read(thread);
        check(reader[thread] ? mdb_txn_renew(reader[thread])
                             : mdb_txn_begin(env, nullptr, MDB_RDONLY, &reader[thread]), "read");
        active[thread] = true;
        return reader[thread];
    }
    void end_read(int thread)
    {
        if (active[thread])
            mdb_txn_reset(reader[thread]);
        active[thread] = false;
    }
    void apply(const write *writes, size_t count, bool sync) override
    {
        MDB_txn *txn;

        end_read(0);
        check(mdb_txn_begin(env, nullptr, 0, &txn), "begin");
        for (size_t i = 0; i < count; i++) {
            MDB_val key = val(writes[i].key), value = val(writes[i].value);
            int rc = writes[i].value.data ? mdb_put(txn, dbi, &key, &value, 0)
                                          : mdb_del(txn, dbi, &key, nullptr);

            if (rc != MDB_NOTFOUND)
                check(rc, "write");
        }
        check(mdb_txn_commit(txn), "commit");
        if (sync)
            check(mdb_env_sync(env, 1), "sync");
    }
    bool get(int thread, bytes key, bytes *out) override
    {
        MDB_val k = val(key), v;
        int rc = mdb_get(read(thread), dbi, &k, &v);

        if (rc == MDB_NOTFOUND)
            return false;
        check(rc, "get");
        *out = { (const char *)v.mv_data, v.mv_size };
        return true;
    }
    void scan(const bytes *key, bool backward,
              const std::function<bool(bytes, bytes)> &fn) override
    {
        MDB_cursor *cursor;
        MDB_val k = key ? val(*key) : MDB_val(), v;
        int rc;

        check(mdb_cursor_open(read(0), dbi, &cursor), "cursor");
        rc = mdb_cursor_get(cursor, &k, &v, key ? MDB_SET_RANGE : backward ? MDB_LAST : MDB_FIRST);
        while (rc == 0 && fn({ (const char *)k.mv_data, k.mv_size },
                             { (const char *)v.mv_data, v.mv_size }))
            rc = mdb_cursor_get(cursor, &k, &v, backward ? MDB_PREV : MDB_NEXT);
        mdb_cursor_close(cursor);
        if (rc != MDB_NOTFOUND)
            check(rc, "scan");
    }
};

const char lmdb_describe[] = "NOSYNC, WRITEMAP (promises less); memory is the system's page cache";

const char *const engine_names[] = { "lsm", "leveldb", "rocksdb", "lmdb" };
constexpr int ENGINES = 4;

engine *engine_new(const std::string &name)
{
    if (name == "lsm")
        return new lsm_engine;
    if (name == "leveldb")
        return new leveldb_engine;
    if (name == "rocksdb")
        return new rocksdb_engine;
    if (name == "lmdb")
        return new lmdb_engine;
    die("no such engine: %s", name.c_str());
}

/* ---- rows ---- */

constexpr size_t KEY_SIZE = 16;

uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void put_be64(char *p, uint64_t x)
{
    x = __builtin_bswap64(x);
    memcpy(p, &x, 8);
}

uint64_t get_be64(const char *p)
{
    uint64_t x;

    memcpy(&x, p, 8);
    return __builtin_bswap64(x);
}

struct key_bytes {
    char data[KEY_SIZE];

    key_bytes(uint64_t row, bool ordered)
    {
        put_be64(data, ordered ? row : mix(row));
        put_be64(data + 8, mix(row ^ 0xa5a5a5a55a5a5a5au));
    }
    operator bytes() const { return { data, KEY_SIZE }; }
};

/* The version, then random bytes; the second half repeats the first. */
void value_make(char *value, size_t size, uint64_t row, uint8_t version)
{
    uint64_t x = row * 2654435761u + ((uint64_t)version << 56);
    size_t half = size / 2;

    for (size_t i = 0; i < half; i += 8) {
        uint64_t word = mix(x + i);

        memcpy(value + i, &word, std::min<size_t>(8, half - i));
    }
    value[0] = (char)version;
    memcpy(value + half, value, size - half);
}

uint64_t row_sum(bytes key, bytes value)
{
    uint64_t sum = get_be64(key.data) * 0x9fb21c651e98df25u ^ get_be64(key.data + 8);

    for (size_t i = 0; i < value.size; i += 8) {
        uint64_t a = 0;

        memcpy(&a, value.data + i, std::min<size_t>(8, value.size - i));
        sum += a * (0x9e3779b185ebca87u + 0x2127599bf4325c36u * i);
    }
    return (sum ^ sum >> 32) * 0xc2b2ae3d27d4eb4fu;
}

/* ---- one engine's process ---- */

constexpr uint8_t DEAD = 255;

double cpu_seconds()
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Bytes handed to write(2) (of our log the zeros, in whose place its records come through a map); of LMDB, which
   writes through a map, bytes of pages made dirty. */
uint64_t written_bytes(bool mapped)
{
    char line[128];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, mapped ? "write_bytes: %" SCNu64 : "wchar: %" SCNu64, &bytes) == 1)
            break;
    if (file)
        fclose(file);
    return bytes;
}

double peak_mib()
{
    char line[128];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return (double)kib / 1024;
}

uint64_t size_found;

int size_add(const char *, const struct stat *st, int type, struct FTW *)
{
    if (type == FTW_F)
        size_found += (uint64_t)st->st_blocks * 512;
    return 0;
}

int unlink_entry(const char *path, const struct stat *, int, struct FTW *)
{
    return remove(path);
}

void remove_tree(const std::string &path)
{
    nftw(path.c_str(), unlink_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Zipfian over 0 .. n-1, exponent 0.99, the favourites spread over all rows (as YCSB does it). */
struct zipf {
    uint64_t n;
    double zeta, eta, alpha, half;

    explicit zipf(uint64_t n_) : n(n_)
    {
        const double theta = 0.99;
        double zeta2 = 1 + pow(0.5, theta);

        zeta = 0;
        for (uint64_t i = 1; i <= n; i++)
            zeta += 1 / pow((double)i, theta);
        alpha = 1 / (1 - theta);
        eta = (1 - pow(2.0 / (double)n, 1 - theta)) / (1 - zeta2 / zeta);
        half = pow(0.5, theta);
    }
    uint64_t rank(double u) const
    {
        double uz = u * zeta;
        uint64_t r;

        if (uz < 1)
            return 0;
        if (uz < 1 + half)
            return 1;
        r = (uint64_t)((double)n * pow(eta * u - eta + 1, alpha));
        return std::min(r, n - 1);
    }
};

struct bench {
    std::string name, dir;
    uint64_t n, memory;
    engine *e = nullptr;
    bool is_open = false, ordered = false;
    size_t value_size = 100;
    std::vector<uint8_t> version;
    uint64_t rows = 0, alive = 0;
    uint64_t random = 20240229;
    std::vector<uint32_t> latency;      /* ns of each operation, clipped */
    std::string scratch[2];
    double memory_base = 0;

    /* of the row at work */
    uint64_t ops = 0, begin = 0, end = 0;
    double value = -1;
    uint64_t stored = 0;                /* bytes of keys and values written */
    double second = -1;                 /* of rows that measure two things */

    uint64_t next_random() { return mix(random++); }
    double next_double() { return (double)(next_random() >> 11) / 9007199254740992.0; }
    uint64_t random_alive()
    {
        uint64_t row;

        do
            row = next_random() % rows;
        while (version[row] == DEAD);
        return row;
    }

    void fresh(bool is_ordered, size_t size)
    {
        if (is_open)
            e->close();
        remove_tree(dir);
        if (mkdir(dir.c_str(), 0755))
            die("%s: %s", dir.c_str(), strerror(errno));
        e->open(dir.c_str(), memory);
        is_open = true;
        ordered = is_ordered;
        value_size = size;
        std::fill(version.begin(), version.end(), DEAD);
        rows = alive = 0;
        scratch[0].resize(size);
        scratch[1].resize(size);
    }

    /* Time `count` operations, each by itself. */
    template <class F>
    void timed(uint64_t count, F operation)
    {
        uint64_t last;

        latency.clear();
        begin = last = now_ns();
        for (uint64_t i = 0; i < count; i++) {
            uint64_t now;

            operation(i);
            now = now_ns();
            latency.push_back((uint32_t)std::min<uint64_t>(now - last, UINT32_MAX));
            last = now;
        }
        end = last;
        ops = count;
    }

    /* The rate of the last tenth of what was timed, over that of the first. */
    double last_tenth() const
    {
        size_t tenth = latency.size() / 10;
        auto sum = [&](size_t from) { return std::accumulate(&latency[from], &latency[from + tenth], 0.0); };

        return sum(0) / sum(latency.size() - tenth);
    }

    void put(uint64_t row, bool sync)
    {
        key_bytes key(row, ordered);
        write w;

        if (version[row] == DEAD)
            alive++;
        version[row] = version[row] >= 250 ? 0 : (uint8_t)(version[row] + 1);
        value_make(&scratch[0][0], value_size, row, version[row]);
        w = { key, { scratch[0].data(), value_size } };
        e->apply(&w, 1, sync);
        stored += KEY_SIZE + value_size;
    }
    void remove(uint64_t row)
    {
        key_bytes key(row, ordered);
        write w = { key, { nullptr, 0 } };

        version[row] = DEAD;
        alive--;
        e->apply(&w, 1, false);
        stored += KEY_SIZE;
    }
    void get(uint64_t row)
    {
        bytes found;

        if (!e->get(0, key_bytes(row, ordered), &found))
            die("%s: row %" PRIu64 " is missing", name.c_str(), row);
        value_make(&scratch[0][0], value_size, row, version[row]);
        if (found.size != value_size || memcmp(found.data, scratch[0].data(), value_size) != 0)
            die("%s: row %" PRIu64 " has another value", name.c_str(), row);
    }
    /* Any version that was made will do. */
    void get_beside_writer(uint64_t row)
    {
        bytes found;

        if (!e->get(1, key_bytes(row, ordered), &found) || found.size != value_size)
            die("%s: row %" PRIu64 " is missing", name.c_str(), row);
        value_make(&scratch[1][0], value_size, row, (uint8_t)found.data[0]);
        if (memcmp(found.data, scratch[1].data(), value_size) != 0)
            die("%s: row %" PRIu64 " has a value that was never written", name.c_str(), row);
    }

    void fill(uint64_t count, uint64_t batch, bool sync)
    {
        std::string values(batch * value_size, 0);
        std::vector<key_bytes> keys;
        std::vector<write> writes(batch);

        if (batch == 1) {
            timed(count, [&](uint64_t) { put(rows++, sync); });
            return;
        }
        timed(count / batch, [&](uint64_t) {
            keys.clear();
            for (uint64_t j = 0; j < batch; j++, rows++, alive++) {
                version[rows] = 0;
                keys.emplace_back(rows, ordered);
                value_make(&values[j * value_size], value_size, rows, 0);
            }
            for (uint64_t j = 0; j < batch; j++)
                writes[j] = { keys[j], { &values[j * value_size], value_size } };
            e->apply(writes.data(), batch, sync);
        });
        ops = count / batch * batch;
        stored += ops * (KEY_SIZE + value_size);
    }

    void scan_all(bool backward)
    {
        uint64_t expected = 0, sum = 0, count = 0;

        for (uint64_t row = 0; row < rows; row++)
            if (version[row] != DEAD) {
                value_make(&scratch[0][0], value_size, row, version[row]);
                expected += row_sum(key_bytes(row, ordered), { scratch[0].data(), value_size });
            }
        begin = now_ns();
        e->scan(nullptr, backward, [&](bytes key, bytes found) {
            if (key.size != KEY_SIZE || found.size != value_size)
                die("%s: a row of another size", name.c_str());
            sum += row_sum(key, found);
            count++;
            return true;
        });
        end = now_ns();
        if (count != alive || sum != expected)
            die("%s: %" PRIu64 " rows, not %" PRIu64 ", or others", name.c_str(), count, alive);
        ops = count;
    }

    /* Up to `width` rows from the key of `row` on, which is there. */
    void scan_from(uint64_t row, uint64_t width)
    {
        key_bytes key(row, ordered);
        bytes from = key;
        uint64_t count = 0;
        char last[KEY_SIZE];

        e->scan(&from, false, [&](bytes k, bytes v) {
            if (k.size != KEY_SIZE || v.size != value_size)
                die("%s: a row of another size", name.c_str());
            if (count == 0 ? memcmp(k.data, key.data, KEY_SIZE) != 0
                           : memcmp(k.data, last, KEY_SIZE) <= 0)
                die("%s: out of order", name.c_str());
            memcpy(last, k.data, KEY_SIZE);
            /* Not the whole value of each row: the readseq rows compare all. */
            if (memcmp(v.data, v.data + value_size / 2, value_size - value_size / 2))
                die("%s: another value", name.c_str());
            return ++count < width;
        });
        if (count == 0)
            die("%s: row %" PRIu64 " is missing", name.c_str(), row);
    }

    void settle()
    {
        uint64_t quiet = now_ns(), give_up = quiet + 180000000000u;
        double cpu = cpu_seconds();

        while (now_ns() - quiet < 300000000) {
            struct timespec pause = { 0, 30000000 };
            double used;

            nanosleep(&pause, nullptr);
            used = cpu_seconds();
            if (used - cpu > 0.003)
                quiet = now_ns();
            cpu = used;
            if (now_ns() > give_up)
                die("%s: not quiet after three minutes", name.c_str());
        }
    }

    void ycsb(char kind)
    {
        zipf z(rows);
        uint64_t count = n / 2;

        auto pick = [&]() { return mix(z.rank(next_double())) % z.n; };
        timed(count, [&](uint64_t) {
            uint64_t dice = next_random() % 100;

            switch (kind) {
            case 'A':
                dice < 50 ? get(pick()) : put(pick(), false);
                break;
            case 'B':
                dice < 95 ? get(pick()) : put(pick(), false);
                break;
            case 'C':
                get(pick());
                break;
            case 'D':                           /* the newest rows are the favourites */
                if (dice < 95)
                    get(rows - 1 - z.rank(next_double()));
                else
                    put(rows++, false);
                break;
            case 'E':
                if (dice < 95)
                    scan_from(pick(), 1 + next_random() % 100);
                else
                    put(rows++, false);
                break;
            default: {
                uint64_t row = pick();

                get(row);
                if (dice < 50)
                    put(row, false);
            }
            }
        });
    }

    void writer_and_reader()
    {
        std::atomic<bool> stop(false);
        uint64_t reads = 0;
        std::thread reader([&]() {
            uint64_t x = 77;

            while (!stop.load(std::memory_order_relaxed)) {
                get_beside_writer(mix(x++) % rows);
                reads++;
            }
        });

        timed(n / 2, [&](uint64_t) { put(next_random() % rows, false); });
        stop = true;
        reader.join();
        second = (double)reads / ((double)(end - begin) / 1e9);
    }

    void queue()
    {
        const uint64_t depth = 10000, limit = 5000000000u;
        uint64_t front = 0;
        bytes head;

        fresh(true, 100);
        while (rows < depth)
            put(rows++, false);
        latency.clear();
        begin = end = now_ns();
        while (front < n && end - begin < limit) {
            uint64_t last = end;

            put(rows++, false);
            e->scan(nullptr, false, [&](bytes key, bytes v) {
                head = { key.data, v.size };
                if (get_be64(key.data) != front)
                    die("%s: the head of the queue is %" PRIu64 ", not %" PRIu64, name.c_str(),
                        get_be64(key.data), front);
                value_make(&scratch[1][0], value_size, front, version[front]);
                if (v.size != value_size || memcmp(v.data, scratch[1].data(), value_size))
                    die("%s: the head has another value", name.c_str());
                return false;
            });
            remove(front++);
            end = now_ns();
            latency.push_back((uint32_t)std::min<uint64_t>(end - last, UINT32_MAX));
        }
        ops = front;
    }

    /* The first row after a long stretch of deleted ones, in microseconds: the median of 21 looks, and the first. */
    void seek_after_deletes()
    {
        uint64_t dead = std::min<uint64_t>(n / 2, 100000);
        std::vector<double> us;

        fresh(true, 100);
        while (rows < n)
            put(rows++, false);
        for (uint64_t row = 0; row < dead; row++)
            remove(row);
        for (int i = 0; i < 21; i++) {
            uint64_t from = now_ns(), seen = 0;

            e->scan(nullptr, false, [&](bytes key, bytes) {
                seen = get_be64(key.data);
                return false;
            });
            us.push_back((double)(now_ns() - from) / 1e3);
            if (seen != dead)
                die("%s: the first row is %" PRIu64, name.c_str(), seen);
        }
        second = us[0];         /* it may walk what was deleted, and the others know what it has learned */
        std::sort(us.begin(), us.end());
        value = us[us.size() / 2];
    }

    void reopen()
    {
        uint64_t from, row = random_alive();

        e->close();
        from = now_ns();
        e->open(dir.c_str(), memory);
        get(row);
        value = (double)(now_ns() - from) / 1e6;
    }

    void disk_bytes()
    {
        size_found = 0;
        nftw(dir.c_str(), size_add, 16, FTW_PHYS);
        value = (double)size_found / 1e6;
    }

    void run(const std::string &row)
    {
        if (row == "fillsync")
            fresh(false, 100), fill(n / 100, 1, true);
        else if (row == "fillseq")
            fresh(true, 100), fill(n, 1, false);
        else if (row == "fillseq100")
            fresh(true, 100), fill(n, 100, false);
        else if (row == "fillrandom100")
            fresh(false, 100), fill(n, 100, false);
        else if (row == "fillrandom")
            fresh(false, 100), fill(n, 1, false), second = last_tenth();
        else if (row == "readrandom")
            timed(n, [&](uint64_t) { get(random_alive()); });
        else if (row == "readmissing")
            timed(n, [&](uint64_t) {
                bytes found;

                if (e->get(0, key_bytes(version.size() + next_random() % n, ordered), &found))
                    die("%s: a row that was never written", name.c_str());
            });
        else if (row == "seek10")
            timed(n / 4, [&](uint64_t) { scan_from(random_alive(), 11); });
        else if (row == "readseq")
            scan_all(false);
        else if (row == "readreverse")
            scan_all(true);
        else if (row == "overwrite")
            timed(n, [&](uint64_t) { put(next_random() % rows, false); });
        else if (row == "both")
            writer_and_reader();
        else if (row.compare(0, 4, "ycsb") == 0)
            ycsb(row[4]);
        else if (row == "deleterandom")
            timed(n / 2, [&](uint64_t) { remove(random_alive()); });
        else if (row == "queue")
            queue();
        else if (row == "fill4k")
            fresh(false, 4096), fill(std::max<uint64_t>(n / 10, 100), 1, false);
        else if (row == "fill64k")
            fresh(false, 65536), fill(std::max<uint64_t>(n / 100, 100), 1, false);
        else if (row == "readlarge")
            timed(rows, [&](uint64_t) { get(random_alive()); });
        else if (row == "deletes")
            seek_after_deletes();
        else if (row == "reopen")
            reopen();
        else if (row == "disk")
            disk_bytes();
        else if (row == "memory")
            value = peak_mib() - memory_base;
        else
            die("no such row: %s", row.c_str());
    }

    double percentile(double p)
    {
        if (latency.empty())
            return -1;
        return latency[(size_t)((double)(latency.size() - 1) * p)] / 1e3;
    }

    /* A row's name in, what was measured out. */
    int main_loop()
    {
        char row[64];
        bool mapped = name == "lmdb";

        version.assign(n * 2, DEAD);
        latency.assign(n * 2, 0);       /* its memory is not the engine's */
        memory_base = peak_mib();
        e = engine_new(name);
        while (scanf("%63s", row) == 1) {
            double cpu;
            uint64_t written = written_bytes(mapped);

            ops = 0;
            value = second = -1;
            stored = 0;
            latency.clear();
            cpu = cpu_seconds();
            begin = end = now_ns();
            run(row);
            settle();
            cpu = cpu_seconds() - cpu;
            written = written_bytes(mapped) - written;
            std::sort(latency.begin(), latency.end());
            printf("ok %.6g %.6g %.6g %.6g %.6g %.6g %.6g\n",
                   value >= 0 ? value : (double)ops / ((double)(end - begin) / 1e9), second,
                   ops ? cpu / (double)ops * 1e6 : -1, percentile(0.5), percentile(0.99),
                   percentile(0.999), stored ? (double)written / (double)stored : -1);
            fflush(stdout);
        }
        if (is_open)
            e->close();
        remove_tree(dir);
        delete e;
        return 0;
    }
};

/* ---- the driver ---- */

struct measured {
    double value = -1, second = -1, cpu = -1, p50 = -1, p99 = -1, p999 = -1, written = -1;
};

struct child {
    const char *name;
    pid_t pid;
    FILE *to, *from;
};

std::string self;

child child_start(const char *name, const std::string &work, uint64_t n, uint64_t memory)
{
    child c = { name, 0, nullptr, nullptr };
    std::string dir = work + "/" + name, rows = std::to_string(n), budget = std::to_string(memory);
    int to[2], from[2];

    if (pipe(to) || pipe(from))
        die("pipe: %s", strerror(errno));
    fflush(nullptr);
    c.pid = fork();
    if (c.pid < 0)
        die("fork: %s", strerror(errno));
    if (c.pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execl(self.c_str(), self.c_str(), "--engine", name, dir.c_str(), rows.c_str(),
              budget.c_str(), (char *)nullptr);
        die("%s: %s", self.c_str(), strerror(errno));
    }
    close(to[0]);
    close(from[1]);
    c.to = fdopen(to[1], "w");
    c.from = fdopen(from[0], "r");
    return c;
}

measured child_run(child &c, const char *row)
{
    measured m;
    char line[512];

    fprintf(c.to, "%s\n", row);
    fflush(c.to);
    if (!fgets(line, sizeof line, c.from) ||
        sscanf(line, "ok %lf %lf %lf %lf %lf %lf %lf", &m.value, &m.second, &m.cpu, &m.p50, &m.p99,
               &m.p999, &m.written) != 7)
        die("%s: failed in %s", c.name, row);
    return m;
}

/* A row of the table. `judge`: faster (a rate), time, less (than RocksDB and 5 %), fewer (than RocksDB), third (of LevelDB),
   50us (at most), info (not judged). */
struct row_kind {
    const char *command, *label, *unit, *judge;
};

const row_kind row_kinds[] = {
    { "fillsync", "fillsync", "ops/s", "faster" },
    { "fillseq", "fillseq", "ops/s", "faster" },
    { "fillseq100", "fillseq, batches of 100", "ops/s", "faster" },
    { "fillrandom100", "fillrandom, batches of 100", "ops/s", "faster" },
    { "fillrandom", "fillrandom", "ops/s", "faster" },
    { "disk", "size on disk after fillrandom", "MB", "less" },
    { "readrandom", "readrandom, hot", "ops/s", "faster" },
    { "readmissing", "readmissing", "ops/s", "faster" },
    { "seek10", "seek + 10 next", "ops/s", "faster" },
    { "readseq", "readseq", "rows/s", "faster" },
    { "readreverse", "readreverse", "rows/s", "faster" },
    { "overwrite", "overwrite", "ops/s", "faster" },
    { "both", "1 writer + 1 reader", "ops/s", "faster" },
    { "ycsbA", "YCSB A, 50 % updates", "ops/s", "faster" },
    { "ycsbB", "YCSB B, 5 % updates", "ops/s", "faster" },
    { "ycsbC", "YCSB C, reads", "ops/s", "faster" },
    { "ycsbD", "YCSB D, reads of the newest", "ops/s", "faster" },
    { "ycsbE", "YCSB E, scans of 1-100", "ops/s", "faster" },
    { "ycsbF", "YCSB F, 50 % read-modify-write", "ops/s", "faster" },
    { "readseq", "readseq after all that", "rows/s", "faster" },
    { "deleterandom", "deleterandom", "ops/s", "faster" },
    { "readseq", "readseq after the deletes", "rows/s", "faster" },
    { "reopen", "close, open, first get", "ms", "time" },
    { "queue", "queue, 10,000 deep", "ops/s", "faster" },
    { "deletes", "first row after 100,000 deletes", "us", "50us" },
    { "fill4k", "4K values: fill", "ops/s", "faster" },
    { "readlarge", "4K values: read", "ops/s", "faster" },
    { "fill64k", "64K values: fill", "ops/s", "faster" },
    { "readlarge", "64K values: read", "ops/s", "faster" },
    { "memory", "peak memory of all of it", "MiB", "info" },
};

std::string show(double x)
{
    char out[32];

    if (x < 0)
        return "-";
    if (x >= 1e6)
        snprintf(out, sizeof out, "%.2fM", x / 1e6);
    else if (x >= 1e4)
        snprintf(out, sizeof out, "%.0fk", x / 1e3);
    else if (x >= 1e3)
        snprintf(out, sizeof out, "%.1fk", x / 1e3);
    else if (x >= 10)
        snprintf(out, sizeof out, "%.1f", x);
    else
        snprintf(out, sizeof out, "%.2f", x);
    return out;
}

/* lsm's advantage over engine `i`; > 1 is better. */
double advantage(const char *judge, const measured *m, int i)
{
    if (m[0].value < 0 || m[i].value < 0)
        return -1;
    return strcmp(judge, "faster") == 0 ? m[0].value / m[i].value : m[i].value / m[0].value;
}

FILE *tsv;
std::vector<double> advantages;         /* over the best LSM peer, of each rate */
int missed;

void report(const char *label, const char *unit, const char *judge, const measured *m)
{
    double peer = -1, lmdb = advantage(judge, m, 3);
    const char *verdict = "";

    for (int i = 1; i <= 2; i++) {
        double x = advantage(judge, m, i);

        if (x >= 0 && (peer < 0 || x < peer))
            peer = x;
    }
    if (strcmp(judge, "info") != 0 && peer >= 0 && m[0].value >= 0) {
        bool met = peer >= 1 && (lmdb < 0 || lmdb >= 1 / 1.3 || strcmp(judge, "faster") != 0);

        if (strcmp(judge, "less") == 0)         /* 5 % over RocksDB */
            met = advantage(judge, m, 2) >= 1 / 1.05;
        else if (strcmp(judge, "fewer") == 0)   /* at most RocksDB's */
            met = advantage(judge, m, 2) >= 1;
        else if (strcmp(judge, "third") == 0)   /* of LevelDB's */
            met = advantage(judge, m, 1) >= 3;
        else if (strcmp(judge, "50us") == 0)
            met = m[0].value <= 50;
        verdict = met ? "pass" : "MISS";
        missed += !met;
        if (strcmp(judge, "faster") == 0)
            advantages.push_back(peer);
    }
    printf("%-34s %-7s", label, unit);
    for (int i = 0; i < ENGINES; i++)
        printf(" %8s", show(m[i].value).c_str());
    printf("  %8s %8s  %-4s", show(peer).c_str(), show(lmdb).c_str(), verdict);
    if (m[0].p50 >= 0)
        for (int i = 0; i < ENGINES; i++)
            printf("  %s/%s/%s", show(m[i].p50).c_str(), show(m[i].p99).c_str(),
                   show(m[i].p999).c_str());
    printf("\n");
    fflush(stdout);
    for (int i = 0; i < ENGINES && tsv; i++)
        if (m[i].value >= 0)
            fprintf(tsv, "row\t%s\t%s\t%.6g\t%s\t%.4g\t%.4g\t%.4g\t%.4g\t%s\t0\t0\n", label,
                    engine_names[i], m[i].value, unit, m[i].cpu, m[i].p50, m[i].p99, m[i].p999,
                    judge);
}

double median_of(std::vector<double> v)
{
    if (v.empty())
        return -1;
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

int drive(int argc, char **argv)
{
    uint64_t n = 200000, memory = 0;
    int rounds = 1;
    std::string dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", only, rows, tsv_path;
    char exe[1024];
    ssize_t size = readlink("/proc/self/exe", exe, sizeof exe - 1);
    std::vector<std::vector<std::vector<measured>>> all;        /* row, engine, round */
    constexpr size_t ROWS = sizeof row_kinds / sizeof *row_kinds;

    for (int i = 1; i < argc; i++) {
        std::string arg = argv[i], value = arg.substr(std::min(arg.size(), arg.find('=') + 1));

        if (arg.compare(0, 2, "n=") == 0)
            n = strtoull(value.c_str(), nullptr, 10);
        else if (arg.compare(0, 7, "rounds=") == 0)
            rounds = atoi(value.c_str());
        else if (arg.compare(0, 7, "memory=") == 0)
            memory = strtoull(value.c_str(), nullptr, 10) << 20;
        else if (arg.compare(0, 4, "dir=") == 0)
            dir = value;
        else if (arg.compare(0, 5, "only=") == 0)
            only = "," + value + ",";
        else if (arg.compare(0, 5, "rows=") == 0)
            rows = "," + value + ",";
        else if (arg.compare(0, 4, "tsv=") == 0)
            tsv_path = value;
        else
            die("usage: bench_engine [n=200000] [rounds=1] [memory=MiB] [dir=/tmp] [tsv=FILE] "
                "[only=ENGINE,...] [rows=ROW,...]");
    }
    if (size <= 0 || n < 10000 || rounds < 1)
        die("n is at least 10000, rounds at least 1");
    self = std::string(exe, (size_t)size);
    if (memory == 0)
        memory = std::max<uint64_t>(n * 96, 8 << 20);
    dir += "/lsmvtab-bench-XXXXXX";
    if (mkdtemp(&dir[0]) == nullptr)
        die("%s: %s", dir.c_str(), strerror(errno));
    if (!tsv_path.empty() && (tsv = fopen(tsv_path.c_str(), "w")) == nullptr)
        die("%s: %s", tsv_path.c_str(), strerror(errno));

    printf("n = %" PRIu64 " rows of 16 + 100 bytes, %d round%s, memory = %.1f MiB each; one "
           "operation a call, no sync, where nothing else is said\n", n, rounds, rounds > 1 ? "s" : "",
           (double)memory / 1048576);
    printf("lsm: %s\nleveldb %d.%d: %s\nrocksdb %d.%d.%d: %s\nlmdb %d.%d.%d: %s\n", lsm_describe,
           leveldb::kMajorVersion, leveldb::kMinorVersion, leveldb_describe, ROCKSDB_MAJOR,
           ROCKSDB_MINOR, ROCKSDB_PATCH, rocksdb_describe, MDB_VERSION_MAJOR, MDB_VERSION_MINOR,
           MDB_VERSION_PATCH, lmdb_describe);
    printf("x LSM: lsm's advantage over the better of leveldb and rocksdb (goal >= 1 in each row, "
           ">= 1.5 in the median); x lmdb: goal >= 0.77\n\n");

    all.assign(ROWS, std::vector<std::vector<measured>>(ENGINES));
    printf("%-34s %-7s %8s %8s %8s %8s  %8s %8s        p50/p99/p99.9 us of each\n", "", "unit",
           "lsm", "leveldb", "rocksdb", "lmdb", "x LSM", "x lmdb");
    for (int round = 0; round < rounds; round++) {
        std::vector<child> children;

        for (const char *name : engine_names)
            if (only.empty() || only.find("," + std::string(name) + ",") != std::string::npos)
                children.push_back(child_start(name, dir, n, memory));
        for (size_t r = 0; r < ROWS; r++) {
            measured m[ENGINES], two[ENGINES], wrote[ENGINES];
            const row_kind &k = row_kinds[r];

            if (!rows.empty() && rows.find("," + std::string(k.command) + ",") == std::string::npos)
                continue;
            for (size_t j = 0; j < children.size(); j++) {
                child &c = children[(j + r + (size_t)round) % children.size()];
                int i = 0;

                while (strcmp(engine_names[i], c.name) != 0)
                    i++;
                all[r][i].push_back(child_run(c, k.command));
            }
            if (round + 1 < rounds)
                continue;
            for (int i = 0; i < ENGINES; i++) {
                auto middle = [&](double measured::*field) {
                    std::vector<double> v;

                    for (const measured &x : all[r][i])
                        v.push_back(x.*field);
                    return median_of(v);
                };
                m[i].value = middle(&measured::value);
                m[i].cpu = middle(&measured::cpu);
                m[i].p50 = middle(&measured::p50);
                m[i].p99 = middle(&measured::p99);
                m[i].p999 = middle(&measured::p999);
                two[i].value = middle(&measured::second);
                wrote[i].value = middle(&measured::written);
            }
            report(k.label, k.unit, k.judge, m);
            if (strcmp(k.command, "deletes") == 0)
                report("  the first of these looks", "us", "50us", two);
            if (strcmp(k.command, "both") == 0)
                report("  its reader", "ops/s", "faster", two);
            if (strcmp(k.command, "fillrandom") == 0)
                report("  the last tenth's rate over the first's", "x", "info", two);
            if (strcmp(k.command, "fillrandom") == 0 || strcmp(k.command, "overwrite") == 0) {
                measured put[ENGINES];

                report(*k.command == 'f' ? "  bytes written per byte, fillrandom"
                                         : "  bytes written per byte, overwrite",
                       "x", "fewer", wrote);
                for (int i = 0; i < ENGINES; i++)
                    put[i].value = m[i].p999;
                report(*k.command == 'f' ? "  p99.9 of a put, fillrandom"
                                         : "  p99.9 of a put, overwrite", "us", "third", put);
            }
        }
        for (child &c : children) {
            int status;

            fclose(c.to);
            fclose(c.from);
            if (waitpid(c.pid, &status, 0) != c.pid || status != 0)
                die("%s: ended with status %d", c.name, status);
        }
    }
    remove_tree(dir);
    if (tsv)
        fclose(tsv);
    printf("\nadvantage over the better LSM peer in the median row: %.2f (goal 1.5); "
           "%d rows missed\n", median_of(advantages), missed);
    return 0;
}

} /* namespace */

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--engine") == 0) {
        bench b;

        b.name = argv[2];
        b.dir = argv[3];
        b.n = strtoull(argv[4], nullptr, 10);
        b.memory = strtoull(argv[5], nullptr, 10);
        return b.main_loop();
    }
    return drive(argc, argv);
}
