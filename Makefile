# lsmvtab: a loadable SQLite extension with an LSM engine.
#
#   make                 build/lsmvtab.so (./lsmvtab.so leads to it), build/liblsm.a, the
#                        engine alone, build/liblsmvtab.a, all of it for static use
#   make demo            load real data, query it, kill it, reopen it
#   make check           every test, about ten minutes; make check-long: the long tier
#   make mutants         takes out one sync or check at a time: which test sees it? hours
#   make bench           against ordinary tables; make bench-engine: against other engines
#   make install         under PREFIX (/usr/local); prints what to type after .load
#   make tests           build the test programs; one: make build/tests/unit/test_buf
#
#   SAN=address,undefined | SAN=thread | CC=clang: each flavour has a directory of its own
#   in build/ (address-undefined, thread, clang, clang-thread, ...) and asserts are on in the
#   SAN flavours; only the plain one makes ./lsmvtab.so.

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

comma := ,
empty :=
space := $(empty) $(empty)
CLANG := $(if $(findstring clang,$(notdir $(CC))),clang)
FLAVOUR := $(subst $(space),-,$(strip $(CLANG) $(subst $(comma),-,$(SAN))))
BUILD := build$(if $(FLAVOUR),/$(FLAVOUR))

# ---- flags ----

CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wpedantic -Werror
ENGINE_WARN := -Wvla -Wframe-larger-than=4096
# Of the engine only os_posix.c knows the machine, and says so itself: no -D_GNU_SOURCE there.
ALL_CFLAGS := -std=c11 $(WARN) $(CFLAGS) -fPIC -fvisibility=hidden -pthread -I. -MMD -MP
ALL_LDFLAGS := -pthread $(LDFLAGS)
ifeq ($(SAN),)
ALL_CFLAGS += -DNDEBUG $(ENGINE_WARN)
else
# A sanitizer grows frames, and hides from gcc what it would need to know of initialised.
ALL_CFLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
ALL_CFLAGS += $(if $(CLANG),,-Wno-maybe-uninitialized)
ALL_LDFLAGS += -fsanitize=$(SAN)
endif
# Tests may ask the machine for anything, have large frames, and always assert.
TEST_CFLAGS := $(filter-out -DNDEBUG $(ENGINE_WARN),$(ALL_CFLAGS)) -D_GNU_SOURCE

# zstd goes in whole and is hidden; xxhash is compiled into lsm/util/hash.c.
ZSTD = $(shell $(CC) -print-file-name=libzstd.a 2>/dev/null)

# ---- sources ----

LSM_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard lsm/*/*.c))
EXT_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard ext/*.c))
CORE_OBJ := $(patsubst %.c,$(BUILD)/core/%.o,$(wildcard ext/*.c))

# In these and in tests/bench a file with tests or a main is a program, the others are
# parts that any test may use: libsim.a.
SIM_DIRS := tests/sim tests/diff tests/kill
program_has := ^TEST[(]|^int main[(]
programs = $(shell grep -lsE '$(program_has)' $(wildcard $(1)/*.c) /dev/null)
SIM_MAIN := $(foreach d,$(SIM_DIRS),$(call programs,$(d)))
BENCH_MAIN := $(call programs,tests/bench)
SIM_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out $(SIM_MAIN) $(BENCH_MAIN),\
    $(wildcard $(SIM_DIRS:%=%/*.c) tests/bench/*.c)))
FUZZ_MAIN := $(wildcard tests/fuzz/fuzz_*.c)
TEST_MAIN := $(wildcard tests/unit/*.c) $(SIM_MAIN)
TEST_BIN := $(patsubst %.c,$(BUILD)/%,$(TEST_MAIN))
FUZZ_BIN := $(patsubst %.c,$(BUILD)/%,$(FUZZ_MAIN))
BENCH_BIN := $(patsubst %.c,$(BUILD)/%,$(BENCH_MAIN))

# ---- what is made ----

.PHONY: all tests demo check check-long mutants bench bench-engine install clean packages
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/liblsm.a $(BUILD)/liblsmvtab.a
ifeq ($(SAN),)
all: $(BUILD)/lsmvtab.so        # a plain host cannot load an instrumented one
endif
ifeq ($(FLAVOUR),)
all: lsmvtab.so
endif

tests: $(TEST_BIN) $(FUZZ_BIN)

$(BUILD)/obj/lsm/%.o: lsm/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c $< -o $@

ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
$(BUILD)/obj/lsm/util/hash_avx2.o: ALL_CFLAGS += -mavx2
endif

$(BUILD)/obj/ext/%.o: ext/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -D_GNU_SOURCE -c $< -o $@

$(BUILD)/core/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -D_GNU_SOURCE -DSQLITE_CORE -c $< -o $@

$(BUILD)/obj/tests/%.o: tests/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -DSQLITE_CORE -c $< -o $@

$(BUILD)/liblsm.a: $(LSM_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/liblsmvtab.a: $(LSM_OBJ) $(CORE_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/libsim.a: $(SIM_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/exports.map: lsmvtab.def
	@mkdir -p $(@D)
	awk 'BEGIN { print "{ global:" } list && NF { print "    " $$1 ";" } \
	    /^EXPORTS/ { list = 1 } END { print "local: *; };" }' $< > $@

# nodynamic-undefined-weak: zstd would let itself be traced by functions of the host.
$(BUILD)/lsmvtab.so: $(LSM_OBJ) $(EXT_OBJ) $(BUILD)/exports.map
	@test -f "$(ZSTD)" || { echo "libzstd.a is missing (Debian: libzstd-dev)" >&2; exit 1; }
	$(CC) -shared $(ALL_LDFLAGS) -Wl,-z,defs -Wl,-z,relro,-z,now -Wl,-z,nodynamic-undefined-weak \
	    -Wl,--exclude-libs,ALL -Wl,--version-script=$(BUILD)/exports.map \
	    -o $@ $(LSM_OBJ) $(EXT_OBJ) $(ZSTD) -lm

lsmvtab.so: build/lsmvtab.so
	ln -sfn $< $@

# A test of the engine, test_FILE or test_FILE_PART, needs the engine only; the others get the
# extension and SQLite too.
engine_test = $(BUILD)/tests/unit/test_$(1) $(BUILD)/tests/unit/test_$(1)_%
ENGINE_TEST := $(foreach f,$(wildcard lsm/*/*.c),$(call engine_test,$(basename $(notdir $(f)))))

$(filter $(ENGINE_TEST),$(TEST_BIN)): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/libsim.a $(BUILD)/liblsm.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ZSTD)

$(filter-out $(ENGINE_TEST),$(TEST_BIN)): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/libsim.a $(BUILD)/liblsmvtab.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ZSTD) -lsqlite3 -ldl -lm

# Without a fuzzer: each target reads its corpus once.
$(FUZZ_BIN): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/libsim.a $(BUILD)/liblsmvtab.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ZSTD) -lsqlite3 -ldl -lm

$(BENCH_BIN): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/libsim.a $(BUILD)/liblsmvtab.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ZSTD) -lsqlite3 -ldl -lm

-include $(shell find $(BUILD)/obj $(BUILD)/core -name '*.d' 2>/dev/null)

# ---- what is run ----
# Two makes: what the first installs, the second finds.

demo: packages
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	tests/demo/demo.sh

check: packages
	@tests/run.sh --tier quick

check-long: packages
	@tests/run.sh --tier long

mutants: packages
	@tests/mutants/run.sh

bench: packages
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BENCH_BIN)
	tests/bench/run.sh

bench-engine: packages
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BENCH_BIN)
	tests/bench/run.sh engine

install: all
	install -d $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include/lsm/os
	install -m 644 build/lsmvtab.so build/liblsm.a build/liblsmvtab.a $(DESTDIR)$(PREFIX)/lib
	install -m 644 lsm/lsm.h $(DESTDIR)$(PREFIX)/include/lsm
	install -m 644 lsm/os/os.h $(DESTDIR)$(PREFIX)/include/lsm/os
	$(foreach h,$(wildcard ext/lsmvtab.h),install -m 644 $(h) $(DESTDIR)$(PREFIX)/include)
	@echo
	@echo "In sqlite3 type:"
	@echo ".load $(PREFIX)/lib/lsmvtab"

clean:
	rm -rf build lsmvtab.so

# What building and testing needs, and by what each is known to be there.
header = printf '\043include <%s>\n' $(1) | $(CC) -E -x c - >/dev/null 2>&1
packages:
	@missing=; \
	have() { command -v "$$1" >/dev/null 2>&1; }; \
	have $(CC) || missing="$$missing $(if $(CLANG),clang,gcc)"; \
	have gcc || missing="$$missing gcc"; \
	have ar && have nm || missing="$$missing binutils"; \
	have clang || missing="$$missing clang"; \
	have sqlite3 || missing="$$missing sqlite3"; \
	have strace || missing="$$missing strace"; \
	$(call header,stdlib.h) || missing="$$missing libc6-dev"; \
	$(call header,sqlite3ext.h) || missing="$$missing libsqlite3-dev"; \
	$(call header,xxhash.h) || missing="$$missing libxxhash-dev"; \
	$(call header,zstd.h) && test -f "$(ZSTD)" || missing="$$missing libzstd-dev"; \
	missing=$$(echo $$missing | tr ' ' '\n' | sort -u | tr '\n' ' '); \
	[ -n "$${missing# }" ] || exit 0; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	if have apt-get && { [ -z "$$sudo" ] || have sudo; }; then \
	    echo "Installing with apt-get: $$missing"; \
	    $$sudo apt-get update -q && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	else \
	    echo "Please install these first (Debian's names): $$missing" >&2; \
	    exit 1; \
	fi
