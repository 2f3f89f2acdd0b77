# cdcsync: build with PGXS.
#
#   make, make install, make installcheck   as with every extension
#   make demo    a warehouse that follows a topic, from nothing (KEEP=1: leave it running)
#   make test    every test there is, from nothing
#   make bench   the measurements of bench/ (SHORT=1: with fewer events)
#
# PG_CONFIG chooses the PostgreSQL, for all of them.

MODULE_big = cdcsync
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
PGFILEDESC = "cdcsync - change data capture from Kafka into tables"

EXTENSION = cdcsync
DATA = $(sort $(wildcard cdcsync--*.sql))

SHLIB_LINK = -lrdkafka -lcurl -lcrypto -lpthread

# The two warnings that are off come from the server's own headers and from
# function signatures that are not ours to choose.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers
ifdef WERROR
PG_CFLAGS += -Werror
endif
# Places where tests make things go wrong; see src/fault.h.
ifdef CDC_FAULTS
PG_CFLAGS += -DCDC_FAULTS
endif

# Any order will do: each file stands alone, but one that is named 00_* is first.
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --encoding=UTF8 --no-locale

ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --encoding=UTF8 --no-locale

ifneq ($(wildcard test/t/*.pl),)
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
endif

EXTRA_CLEAN = build

PG_CONFIG ?= pg_config

# The commands below install a PostgreSQL where there is none: for them alone
# this file must be readable without one.
ifneq ($(filter-out demo test bench,$(or $(MAKECMDGOALS),all)),)

PGXS := $(shell $(PG_CONFIG) --pgxs)

# A server that was built with LLVM names a clang and tools that need not be
# installed: without them there is no bitcode, which only costs inlining into
# JIT code.
CDC_GLOBAL := $(dir $(PGXS))../Makefile.global
CDC_CLANG := $(shell sed -n 's/^CLANG *= *//p' $(CDC_GLOBAL) 2>/dev/null)
CDC_LLVM := $(shell sed -n 's/^LLVM_BINPATH *= *//p' $(CDC_GLOBAL) 2>/dev/null)
ifeq ($(shell command -v $(or $(CDC_CLANG),clang) >/dev/null && command -v $(CDC_LLVM)/llvm-lto),)
override with_llvm = no
endif

include $(PGXS)

# PGXS knows of no headers unless the server was built with --enable-depend.
CDC_HEADERS = $(wildcard src/*.h)
$(OBJS) $(OBJS:.o=.bc): $(CDC_HEADERS)

# The broker that tests and the demo talk to: a program by itself.
build/mock_broker: test/mock_broker.c test/Makefile.mock
	$(MAKE) -f test/Makefile.mock $@

# The consumer as SQL functions; it is not installed.
CDC_KAFKA_OBJS = $(filter src/kafka% src/aws_% src/msk_% src/iso_time.o src/json.o,$(OBJS))
build/kafka_reader$(DLSUFFIX): test/kafka_reader/kafka_reader.c $(CDC_KAFKA_OBJS) $(CDC_HEADERS)
	mkdir -p build
	$(CC) $(CFLAGS) $(CFLAGS_SL) -Isrc $(CPPFLAGS) -shared -o $@ $< $(CDC_KAFKA_OBJS) $(LDFLAGS) $(SHLIB_LINK)

# What makes a disk full.
build/full_disk$(DLSUFFIX): test/full_disk.c
	mkdir -p build
	$(CC) -O2 -Wall -Wextra -fPIC -shared -o $@ $< -ldl

ifdef TAP_TESTS
installcheck: build/mock_broker build/kafka_reader$(DLSUFFIX) build/full_disk$(DLSUFFIX)
endif

endif

.PHONY: demo test bench

demo:
	@PG_CONFIG='$(PG_CONFIG)' KEEP='$(KEEP)' bash test/demo.sh

test:
	@PG_CONFIG='$(PG_CONFIG)' KEEP='$(KEEP)' bash test/run.sh $(SUITES)

bench:
	@PG_CONFIG='$(PG_CONFIG)' bash bench/run.sh
