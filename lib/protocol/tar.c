#include "lib/protocol/tar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

/*
 * Zero bytes that may follow an archive's end: other writers fill their last record with them. More than any record
 * holds is not filling any more.
 */
#define TAR_TRAILING_MAX (1u << 20)

/* --- Writing --- */

/* Takes the header and nothing more: with the missing data refused, libarchive can be closed without writing it. */
struct collector {
	struct buf header;
	bool closed;
};

static la_ssize_t
collect(struct archive *a, void *arg, const void *data, size_t len)
{
	struct collector *c = arg;

	(void)a;
	return c->closed || buf_add(&c->header, data, len) < 0 ? -1 : (la_ssize_t)len;
}

static int
describe_file(struct archive_entry *entry, const char *name, uint64_t size_bytes, int64_t mtime)
{
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_uid(entry, 0);
	archive_entry_set_gid(entry, 0);
	archive_entry_set_size(entry, (la_int64_t)size_bytes);
	archive_entry_set_mtime(entry, (time_t)mtime, 0);
	return archive_entry_pathname(entry) != NULL ? 0 : SP_ENOMEM;
}

int
tar_write_header(struct buf *out, const char *name, uint64_t size_bytes, int64_t mtime, struct sp_error *err)
{
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	struct collector c = { .closed = false };
	int rc;

	buf_init(&c.header, 64u << 10);
	if (a == NULL || entry == NULL || describe_file(entry, name, size_bytes, mtime) < 0) {
		rc = sp_error_set(err, SP_ENOMEM, "write the tar header of %s: out of memory", name);
		goto out;
	}
	if (size_bytes > INT64_MAX) {
		rc = sp_error_set(err, SP_ETOOBIG, "write the tar header of %s: %" PRIu64 " bytes", name, size_bytes);
		goto out;
	}
	archive_write_set_format_pax_restricted(a);
	archive_write_set_bytes_per_block(a, 0); /* each block comes out as it is made */
	if (archive_write_open(a, &c, NULL, collect, NULL) != ARCHIVE_OK ||
	    archive_write_header(a, entry) != ARCHIVE_OK) {
		rc = sp_error_set(err, archive_errno(a) == ENOMEM ? SP_ENOMEM : SP_EINTERNAL,
		    "write the tar header of %s: %s", name, archive_error_string(a));
		goto out;
	}
	if ((rc = buf_add(out, c.header.data, c.header.len)) < 0)
		sp_error_set(err, rc, "write the tar header of %s: no room", name);
out:
	c.closed = true;
	archive_write_free(a);
	archive_entry_free(entry);
	buf_release(&c.header);
	return rc;
}

size_t
tar_padding(uint64_t size_bytes)
{
	return (size_t)((TAR_BLOCK - size_bytes % TAR_BLOCK) % TAR_BLOCK);
}

/* --- Reading --- */

struct tar_reader {
	struct archive *archive;
	tar_source source;
	void *arg;

	/* Bytes that the source has delivered; and how many there are of it up to the last that is
	 * not zero. */
	uint64_t delivered, data_end;
	bool source_ended;
	int source_code; /* 0, or the failure that the source reported */
	struct sp_error source_err;

	bool open;
	bool inside; /* a member's data has not been read to its end */
	bool ended;
	struct tar_member member;
	uint64_t read; /* bytes of the member's data so far */
};

/* How long it is without the zeros at its end. */
static size_t
without_zeros(const unsigned char *piece, size_t len)
{
	static const unsigned char zeros[TAR_BLOCK];

	while (len >= sizeof(zeros) && memcmp(piece + len - sizeof(zeros), zeros, sizeof(zeros)) == 0)
		len -= sizeof(zeros);
	while (len > 0 && piece[len - 1] == 0)
		len--;
	return len;
}

/* libarchive may have asked for more than it has used: what a piece holds is noted here, while it is there. */
static la_ssize_t
pull(struct archive *a, void *arg, const void **data)
{
	struct tar_reader *r = arg;
	size_t len = 0, used;
	int rc = r->source_code;

	(void)a;
	if (r->source_ended)
		return 0;
	if (rc == 0)
		rc = r->source(r->arg, data, &len, &r->source_err);
	if (rc < 0) {
		r->source_code = rc;
		return -1;
	}
	if (rc == 0) {
		r->source_ended = true;
		return 0;
	}
	used = without_zeros(*data, len);
	if (used > 0)
		r->data_end = r->delivered + used;
	r->delivered += len;
	return (la_ssize_t)len;
}

struct tar_reader *
tar_reader_new(tar_source source, void *arg, struct sp_error *err)
{
	struct tar_reader *r = calloc(1, sizeof(*r));

	if (r == NULL || (r->archive = archive_read_new()) == NULL) {
		free(r);
		sp_error_set(err, SP_ENOMEM, "read a tar archive: out of memory");
		return NULL;
	}
	r->source = source;
	r->arg = arg;
	archive_read_support_format_tar(r->archive); /* and no filter: compression is the transport's business */
	return r;
}

void
tar_reader_free(struct tar_reader *r)
{
	if (r == NULL)
		return;
	archive_read_free(r->archive);
	free(r);
}

/* libarchive failed: was it the source, the bytes' early end, or the bytes themselves? */
static int
fail(struct tar_reader *r, const char *doing, struct sp_error *err)
{
	const char *text = archive_error_string(r->archive);

	if (r->source_code < 0) {
		if (err != NULL)
			*err = r->source_err;
		return r->source_code;
	}
	if (r->source_ended)
		return sp_error_set(
		    err, SP_ETRUNCATED, "%s: the archive is cut short after %" PRIu64 " bytes", doing, r->delivered);
	return sp_error_set(err, archive_errno(r->archive) == ENOMEM ? SP_ENOMEM : SP_EBADDATA, "%s: %s", doing,
	    text != NULL ? text : "damaged archive");
}

static const char *
type_name(struct archive_entry *entry)
{
	if (archive_entry_hardlink(entry) != NULL)
		return "a hard link";
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
		return archive_entry_sparse_reset(entry) > 0 ? "a sparse file" : NULL;
	case AE_IFLNK:
		return "a symbolic link";
	case AE_IFDIR:
		return "a directory";
	case AE_IFCHR:
		return "a character device";
	case AE_IFBLK:
		return "a block device";
	case AE_IFIFO:
		return "a fifo";
	default:
		return "of an unknown type";
	}
}

/* The fault of a member's name, or NULL. */
static const char *
name_fault(const char *name)
{
	const char *at = name;

	if (name[0] == '\0')
		return "is empty";
	if (strlen(name) >= TAR_NAME_MAX)
		return "is too long";
	if (name[0] == '/')
		return "is absolute";
	while (at != NULL) {
		at += *at == '/';
		if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
			return "holds \"..\"";
		at = strchr(at, '/');
	}
	for (at = name; *at != '\0'; at++)
		if ((unsigned char)*at < 0x20 || (unsigned char)*at == 0x7f)
			return "holds control characters";
	return NULL;
}

/* Quote a hostile name for a message: bounded, and only what is printed plainly. */
static void
show_name(const char *name, char out[64])
{
	size_t i;

	for (i = 0; i < 63 && name[i] != '\0'; i++)
		out[i] = (unsigned char)name[i] < 0x20 || (unsigned char)name[i] >= 0x7f ? '?' : name[i];
	out[i] = '\0';
}

static int
take_entry(struct tar_reader *r, struct archive_entry *entry, struct tar_member *out, struct sp_error *err)
{
	const char *name = archive_entry_pathname(entry), *fault;
	char shown[64];

	if (name == NULL)
		return sp_error_set(err, SP_EBADDATA, "a member's name cannot be read");
	show_name(name, shown);
	if ((fault = name_fault(name)) != NULL)
		return sp_error_set(err, SP_EBADDATA, "member \"%s\": its name %s", shown, fault);
	if ((fault = type_name(entry)) != NULL)
		return sp_error_set(err, SP_EBADDATA, "member \"%s\" is %s; only plain files are taken", shown, fault);
	if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0)
		return sp_error_set(err, SP_EBADDATA, "member \"%s\" has no size", shown);
	memcpy(r->member.name, name, strlen(name) + 1);
	r->member.size = (uint64_t)archive_entry_size(entry);
	r->read = 0;
	r->inside = true;
	*out = r->member;
	return 1;
}

/*
 * libarchive takes an archive that just ends, or ends in one zero block, for complete, and passes over headers that say
 * nothing of a member. Here an end is two zero blocks, then nothing but filling, then the end of the source.
 */
static int
check_end(struct tar_reader *r, uint64_t members_end, struct sp_error *err)
{
	uint64_t consumed = (uint64_t)archive_filter_bytes(r->archive, 0);
	const void *data = NULL;
	int rc;

	if (consumed - members_end < TAR_END_BYTES)
		return sp_error_set(err, SP_ETRUNCATED,
		    "the archive is cut short after %" PRIu64 " bytes: its end blocks are missing", r->delivered);
	do {
		if (r->data_end > consumed - TAR_END_BYTES || r->delivered - consumed > TAR_TRAILING_MAX)
			return sp_error_set(err, SP_EBADDATA, "there is data after the archive's end");
	} while ((rc = (int)pull(r->archive, r, &data)) > 0);
	if (rc < 0)
		return fail(r, "read the archive's end", err);
	r->ended = true;
	return 0;
}

static int
skip_data(struct tar_reader *r, struct sp_error *err)
{
	const void *data;
	size_t len;
	int rc;

	while ((rc = tar_reader_data(r, &data, &len, err)) == 1)
		continue;
	return rc;
}

int
tar_reader_next(struct tar_reader *r, struct tar_member *out, struct sp_error *err)
{
	struct archive_entry *entry;
	uint64_t members_end;
	int rc;

	if (r->ended)
		return 0;
	if (!r->open && archive_read_open(r->archive, r, NULL, pull, NULL) != ARCHIVE_OK)
		return fail(r, "begin to read the archive", err);
	r->open = true;
	if ((rc = skip_data(r, err)) < 0)
		return rc;
	members_end = (uint64_t)archive_filter_bytes(r->archive, 0);
	rc = archive_read_next_header(r->archive, &entry);
	if (rc == ARCHIVE_EOF)
		return r->source_code < 0 ? fail(r, "", err) : check_end(r, members_end, err);
	if (rc != ARCHIVE_OK)
		return fail(r,
		    r->member.name[0] != '\0' ? "read the next member's header" : "read the first member's header",
		    err);
	return take_entry(r, entry, out, err);
}

uint64_t
tar_reader_offset(const struct tar_reader *r)
{
	return (uint64_t)archive_filter_bytes(r->archive, 0);
}

int
tar_reader_data(struct tar_reader *r, const void **data, size_t *len, struct sp_error *err)
{
	la_int64_t offset;
	int rc;

	if (!r->inside)
		return 0;
	rc = archive_read_data_block(r->archive, data, len, &offset);
	if (rc == ARCHIVE_EOF) {
		r->inside = false;
		if (r->read != r->member.size)
			return sp_error_set(err, SP_ETRUNCATED,
			    "member \"%s\" ends after %" PRIu64 " of %" PRIu64 " bytes", r->member.name, r->read,
			    r->member.size);
		return 0;
	}
	if (rc != ARCHIVE_OK)
		return fail(r, r->member.name, err);
	if ((uint64_t)offset != r->read || *len > r->member.size - r->read)
		return sp_error_set(err, SP_EBADDATA, "member \"%s\" has holes", r->member.name);
	r->read += *len;
	return 1;
}
