/*
 * The journal, as an earlier process may have left it or a disk may have made of it, beside a store: the store opens at
 * the state that the whole groups lead to and is whole, or is refused by name and left alone.
 *
 * The input is a first byte of choices, then pieces of the file: a byte says where each goes (area, page, whether it is
 * a group's changes to which a head is made, or bytes as they are), two how long it is. The groups' heads follow one
 * another and tell the truth, but for those that a second byte of theirs says to spoil. Where nothing is spoilt, the
 * store must open at exactly the state that the target computes.
 *
 * The areas are made small, as each is read whole: these files' functions stand in for those of the archive.
 */
#include "server/store/journal.h"

#undef JOURNAL_AREA_BYTES
#define JOURNAL_AREA_BYTES (16 * JOURNAL_PAGE)
#include "server/store/journal.c"
#include "server/store/journal_read.c"

#include <sys/stat.h>
#include <uuid.h>

#include "lib/base/log.h"
#include "tests/fuzz/shared.h"

enum { RAW = 0x80, SPOIL = 0x40, OTHER_AREA = 0x20, PLACE = 0x0f };
enum { NO_HEAD = 1, IN_DOUBT = 2 };
#define KEYS_MAX 64

/* What the store holds, as the groups so far have it. */
struct model {
	struct journal_group now; /* its seq, digest and keys are the state */
	uint64_t generation, index;
	size_t count;
	struct {
		unsigned char key[STORE_KEY_MAX];
		size_t len;
		struct digest hash; /* zero: deleted */
	} keys[KEYS_MAX];
};

static struct store *store;
static struct position first;
static const unsigned char salt[DIGEST_BYTES] = "the fuzzers salt";

static void
learn(struct model *m, const char *key, size_t len, struct digest hash)
{
	size_t i = 0;

	while (i < m->count && (m->keys[i].len != len || memcmp(m->keys[i].key, key, len) != 0))
		i++;
	if (i == m->count) {
		FUZZ_REQUIRE(m->count < KEYS_MAX);
		m->count++;
		memcpy(m->keys[i].key, key, len);
		m->keys[i].len = len;
		m->keys[i].hash = (struct digest){ 0 };
	}
	m->now.keys -= !digest_equal(m->keys[i].hash, (struct digest){ 0 });
	m->now.keys += !digest_equal(hash, (struct digest){ 0 });
	m->now.digest = digest_add(digest_sub(m->now.digest, m->keys[i].hash), hash);
	m->keys[i].hash = hash;
}

static void
model_begin(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->generation = 1;
	learn(m, "b", 1, digest_of_record("b", 1, 2, "two", 3));
	learn(m, "a", 1, digest_of_record("a", 1, 4, "four", 4));
	m->now.seq = first.seq;
	m->now.epoch = first.epoch;
	FUZZ_REQUIRE(uuid_parse(first.cluster, m->now.cluster) == 0);
	FUZZ_REQUIRE(digest_equal(m->now.digest, first.digest) && m->now.keys == first.keys);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sp_error err = { 0 };

	(void)argc;
	(void)argv;
	log_configure(LOG_ERROR, LOG_LOGFMT);
	store = fuzz_store_new();
	FUZZ_REQUIRE(store_position(store, &first, &err) == 0);
	return 0;
}

/* Do a group's changes; false where they are none, or too many for the model. */
static bool
follow(struct model *m, const uint8_t *ops, size_t len)
{
	struct digest hash;
	struct journal_op op;
	size_t at = 0;
	int more;

	m->now.base_seq = m->now.seq;
	m->now.base_digest = m->now.digest;
	while ((more = journal_next_op(ops, len, &at, &op)) == 1) {
		FUZZ_REQUIRE(op.key_len > 0 && (const uint8_t *)op.key >= ops);
		FUZZ_REQUIRE((const uint8_t *)op.value + op.value_len <= ops + len);
		if (op.key_len > STORE_KEY_MAX || m->count == KEYS_MAX)
			return false;
		m->now.seq++;
		hash = (struct digest){ 0 };
		if (!op.is_delete)
			hash = digest_of_record(op.key, op.key_len, m->now.seq, op.value, op.value_len);
		learn(m, op.key, op.key_len, hash);
	}
	return more == 0 && at == len;
}

static void
put_group(int fd, struct model *m, off_t at, const uint8_t *ops, size_t len, uint8_t spoilt)
{
	struct journal j = { .fd = fd, .generation = m->generation, .index = m->index++ };
	uint8_t page[2 * JOURNAL_PAGE] = { 0 };
	size_t size = journal_group_size(len);

	FUZZ_REQUIRE(size <= sizeof(page));
	memcpy(j.salt, salt, sizeof(salt));
	pack_head(&j, &m->now, len, page);
	/* A number of the head, or a byte of the changes. */
	if (spoilt != 0 && spoilt < 0x80)
		page[4 + spoilt % 100] ^= spoilt;
	memcpy(page + JOURNAL_HEAD_BYTES, ops, len);
	digest_to_bytes(digest_of(page, JOURNAL_HEAD_BYTES + len), page + JOURNAL_CHECKSUM_AT);
	if (spoilt >= 0x80)
		page[(JOURNAL_HEAD_BYTES + len) * (spoilt - 0x80) / 0x80] ^= 1;
	FUZZ_REQUIRE(pwrite(fd, page, size, at) == (ssize_t)size);
}

/* Write the pieces: true where the file is one that a process may have left. */
static bool
write_pieces(int fd, struct model *m, const uint8_t *data, size_t size)
{
	size_t used[JOURNAL_AREAS] = { 0 };
	bool honest = true;
	int current = -1;

	while (size >= 4) {
		uint8_t where = data[0], spoilt = where & SPOIL ? data[3] : 0;
		size_t len = (size_t)(data[1] | data[2] << 8) % JOURNAL_PAGE;
		int area = (where & OTHER_AREA) != 0;

		data += 4;
		size -= 4;
		len = len < size ? len : size;
		if (where & RAW) {
			honest = false;
			FUZZ_REQUIRE(
			    pwrite(fd, data, len,
				journal_area_offset((unsigned)area) + (where & PLACE) * JOURNAL_PAGE) == (ssize_t)len);
		} else if ((area == current || used[area] == 0) &&
			   used[area] + journal_group_size(len) <= JOURNAL_AREA_BYTES) {
			/* Areas take turns; one that was left is not written again here. */
			if (current >= 0 && area != current) {
				m->generation++;
				m->index = 0;
			}
			current = area;
			honest &= follow(m, data, len) && spoilt == 0;
			put_group(fd, m, journal_area_offset((unsigned)area) + (off_t)used[area], data, len, spoilt);
			used[area] += journal_group_size(len);
		}
		data += len;
		size -= len;
	}
	return honest;
}

static bool
write_file(struct model *m, const uint8_t *data, size_t size)
{
	int fd = open(tempdir_path(fuzz_folder(), "store/" JOURNAL_NAME), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t head[JOURNAL_FILE_HEAD_BYTES] = { 0 };
	bool honest;

	FUZZ_REQUIRE(fd >= 0);
	memcpy(head, journal_file_magic, sizeof(journal_file_magic));
	le_put(head + 8, JOURNAL_FORMAT, 4);
	memcpy(head + JOURNAL_SALT_AT, salt, sizeof(salt));
	if ((data[0] & IN_DOUBT) != 0)
		memcpy(head + JOURNAL_BOOT_AT, "another", 7);
	if ((data[0] & NO_HEAD) == 0)
		FUZZ_REQUIRE(pwrite(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head));
	honest = write_pieces(fd, m, data + 1, size - 1);
	close(fd);
	return honest && (data[0] & NO_HEAD) == 0;
}

/* It is open: at a state that verifies, and that is still there when it was closed and opened again. */
static void
require_whole(const struct model *m, bool honest)
{
	struct sp_error err = { 0 };
	struct position p, again;
	struct digest found;

	FUZZ_REQUIRE(store_position(store, &p, &err) == 0);
	FUZZ_REQUIRE(p.seq >= first.seq);
	if (honest)
		FUZZ_REQUIRE(p.seq == m->now.seq && p.keys == m->now.keys && digest_equal(p.digest, m->now.digest));
	FUZZ_REQUIRE(store_flush(store, &err) == 0);
	FUZZ_REQUIRE(store_verify(store, &found, &err) == 0 && digest_equal(found, p.digest));
	store_detach(store);
	FUZZ_REQUIRE(store_attach(store, STORE_EXISTING, &err) == 0);
	FUZZ_REQUIRE(store_position(store, &again, &err) == 0);
	FUZZ_REQUIRE(again.seq == p.seq && digest_equal(again.digest, p.digest) && again.keys == p.keys);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = tempdir_path(fuzz_folder(), "store/" JOURNAL_NAME);
	static struct model m;
	struct sp_error err = { 0 };
	struct stat st;
	bool honest;
	int rc;

	if (size == 0)
		return 0;
	model_begin(&m);
	store_detach(store);
	honest = write_file(&m, data, size);
	rc = store_attach(store, STORE_EXISTING, &err);
	if (rc == 0) {
		require_whole(&m, honest);
		store_detach(store);
	} else {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE(!honest && rc == SP_EBADDATA && strstr(err.text, JOURNAL_NAME) != NULL);
		/* Not deleted: somebody may know better. */
		FUZZ_REQUIRE(stat(path, &st) == 0);
	}
	unlink(path);
	FUZZ_REQUIRE(store_attach(store, STORE_EXISTING, &err) == 0);
	if (rc == 0)
		fuzz_store_restore(store);
	return 0;
}
