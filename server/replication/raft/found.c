/* Before a cluster is founded: whether there is one already. A founder whose volume was lost, or
 * that was in mode static meanwhile, would found a second one beside members of the first. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/protocol/peer.h"
#include "server/replication/raft/internal.h"

#define ASK_TIMEOUT_MS 2000

int
repl_raft_ask_before_founding(struct repl_raft *r, const struct position *own, bool *founds, struct sp_error *err)
{
	struct http_client *http = http_client_new(
	    &(struct http_client_options){ .access = r->access, .connect_timeout_ms = ASK_TIMEOUT_MS }, err);
	struct peer_answer *answers;
	size_t n = 0;
	int rc;

	if (http == NULL)
		return err->code;
	while (r->peers[n] != NULL)
		n++;
	answers = calloc(n + 1, sizeof(*answers));
	rc = answers != NULL ? peer_positions(http, (const char *const *)r->peers, answers, n, ASK_TIMEOUT_MS, err)
			     : sp_error_set(err, SP_ENOMEM, "ask the peers");
	for (size_t i = 0; rc == 0 && *founds && i < n; i++) {
		const struct position *p = &answers[i].position;

		if (!answers[i].has_store || p->raft.applied == 0 ||
		    (own->seq > 0 && strcmp(p->cluster, own->cluster) != 0))
			continue;
		*founds = false;
		if (own->seq > 0)
			rc = sp_error_set(err, SP_EDIVERGED,
			    "this store was written in mode static, and %s is a member of its cluster in mode raft "
			    "already: no "
			    "second log is founded; clear this volume to join that, or the members' to found on this "
			    "store",
			    r->peers[i]);
		else
			log_warn("a peer is a member of a cluster already: this one joins it and founds none",
			    LOG_STR("peer", r->peers[i]), LOG_STR("cluster", p->cluster));
	}
	free(answers);
	http_client_free(http);
	return rc;
}
