/* The record of the holder of the lead (lib/protocol/lead.h), a note beside the position: written
 * in the transaction that changes it. */
#include <string.h>

#include "lib/base/le.h"
#include "lib/protocol/lead.h"
#include "server/store/store_internal.h"

#define LEAD_NOTE    "lead"
#define LEAD_BYTES   56 /* version kind pod to despite reserved:u32, epoch seq:u64, digest[16] */
#define LEAD_VERSION 1

int
store_txn_set_lead(struct store_txn *t, const struct lead *l, struct sp_error *err)
{
	unsigned char bytes[LEAD_BYTES] = { 0 };

	le_put(bytes, LEAD_VERSION, 4);
	le_put(bytes + 4, (uint64_t)l->kind, 4);
	le_put(bytes + 8, l->pod, 4);
	le_put(bytes + 12, l->to, 4);
	le_put(bytes + 16, l->despite, 4);
	le_put(bytes + 24, l->epoch, 8);
	le_put(bytes + 32, l->seq, 8);
	digest_to_bytes(l->digest, bytes + 40);
	return store_txn_note_put(t, LEAD_NOTE, bytes, sizeof(bytes), err);
}

int
store_lead(struct store *s, struct lead *out, struct sp_error *err)
{
	const unsigned char *p;
	struct buf note;
	int rc;

	*out = (struct lead){ .kind = LEAD_NONE, .pod = LEAD_NOBODY, .to = LEAD_NOBODY, .despite = LEAD_NOBODY };
	buf_init(&note, 4096);
	rc = store_note(s, LEAD_NOTE, &note, err);
	if (rc == SP_ENOTFOUND)
		rc = 0;
	else if (rc == 0 && (note.len != LEAD_BYTES || le_get((const unsigned char *)note.data, 4) != LEAD_VERSION ||
				le_get((const unsigned char *)note.data + 4, 4) > LEAD_RELEASED))
		rc =
		    sp_error_set(err, SP_EBADDATA, "the store's record of who leads is of another version, or damaged");
	if (rc == 0 && note.len == LEAD_BYTES) {
		p = (const unsigned char *)note.data;
		out->kind = (enum lead_kind)le_get(p + 4, 4);
		out->pod = (uint32_t)le_get(p + 8, 4);
		out->to = (uint32_t)le_get(p + 12, 4);
		out->despite = (uint32_t)le_get(p + 16, 4);
		out->epoch = le_get(p + 24, 8);
		out->seq = le_get(p + 32, 8);
		out->digest = digest_from_bytes(p + 40);
	}
	buf_release(&note);
	return rc;
}
