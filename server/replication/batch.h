/* The effect of a batch on the store, in every mode. */
#ifndef SERVER_REPLICATION_BATCH_H_
#define SERVER_REPLICATION_BATCH_H_

#include "server/replication/repl.h"
#include "server/store/store.h"

/*
 * Make the batch in the transaction. The result follows from the batch and the store alone, so that
 * it is the same wherever it is made. *seq is its last change, or the present one where it changed
 * nothing. SP_EPRECOND, SP_ENOTFOUND and SP_ETOOBIG leave the transaction as it was; other failures
 * spoil it (store_txn_broken()).
 */
int repl_batch_run(const struct repl_batch *b, struct store_txn *txn, uint64_t *seq, struct sp_error *err);

#endif
