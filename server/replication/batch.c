#include "server/replication/batch.h"

static int
check_condition(const struct repl_batch *b, struct store_txn *txn, struct sp_error *err)
{
	const struct repl_op *op = &b->ops[0];
	uint64_t seq;
	int rc;

	if (b->condition == REPL_ALWAYS)
		return 0;
	rc = store_txn_seq(txn, op->key, op->key_len, &seq, err);
	if (rc < 0 && rc != SP_ENOTFOUND)
		return rc;
	if (b->condition == REPL_IF_ABSENT)
		return rc == 0 ? sp_error_set(err, SP_EPRECOND, "the key exists, at seq %llu", (unsigned long long)seq)
			       : 0;
	if (rc == SP_ENOTFOUND)
		return sp_error_set(err, SP_EPRECOND, "the key does not exist");
	if (b->condition == REPL_IF_SEQ && seq != b->if_seq)
		return sp_error_set(err, SP_EPRECOND, "the key is at seq %llu, not %llu", (unsigned long long)seq,
		    (unsigned long long)b->if_seq);
	return 0;
}

/* Before the first change: what fails after it would leave half of it in the transaction. */
static int
check_keys(const struct repl_batch *b, struct sp_error *err)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->ops[i].key_len == 0 || b->ops[i].key_len > STORE_KEY_MAX)
			return sp_error_set(err, SP_ETOOBIG,
			    "a key has 1 to %d bytes, number %zu of this batch has %zu", STORE_KEY_MAX, i + 1,
			    b->ops[i].key_len);
	return 0;
}

int
repl_batch_run(const struct repl_batch *b, struct store_txn *txn, uint64_t *seq, struct sp_error *err)
{
	int rc;

	rc = check_keys(b, err);
	if (rc == 0)
		rc = check_condition(b, txn, err);
	/* A batch whose deletes find nothing changes nothing: its seq is the present one. */
	*seq = store_txn_last_seq(txn);
	for (size_t i = 0; rc == 0 && i < b->count; i++) {
		const struct repl_op *op = &b->ops[i];

		if (op->kind == REPL_PUT)
			rc = store_txn_put(txn, op->key, op->key_len, op->value, op->value_len, seq, err);
		else
			rc = store_txn_delete(txn, op->key, op->key_len, seq, err);
		/* In a batch of several, what is gone already is as it should be; a single delete says so. */
		if (rc == SP_ENOTFOUND && b->count > 1)
			rc = 0;
	}
	return rc;
}
