/* Shared by the parts of mode raft. */
#ifndef SERVER_REPLICATION_RAFT_INTERNAL_H_
#define SERVER_REPLICATION_RAFT_INTERNAL_H_

#include <pthread.h>
#include <stdatomic.h>

#include <raft.h>
#include <raft/uv.h>
#include <uv.h>

#include "lib/net/http_client.h"
#include "server/replication/raft/directory.h"
#include "server/replication/raft/entry.h"
#include "server/replication/raft/parts.h"
#include "server/replication/raft/plan.h"
#include "server/replication/raft/repl_raft.h"
#include "server/replication/raft/transport.h"

/* The text of a log's first entry: "cluster seq log", the founder's UUID and seq, and its id, which names the log. */
#define FOUND_SIZE (POSITION_CLUSTER_SIZE + 48)

/* An entry on its way: proposed here, or come by the log; in the end a job of the committer. */
struct repl_raft_job {
	struct commit_job job; /* first: the two are one address */
	struct repl_raft *owner;
	struct repl_batch *batch; /* the client's here, or NULL */
	struct entry entry;       /* points into the batch or into `bytes` */
	void *bytes;              /* malloc'ed, or NULL */
	uint64_t index;
	uint64_t after; /* index of the entry that must be in the store before it */
	int code;       /* what came of it */
	struct sp_error err;
	uint64_t seq;
	struct repl_raft_job *next;
};

#define FLOW_ENTRIES 4096 /* on their way to a member at once, at most; a power of two */

/* Less was sent than libraft thinks: its next index for that member is to be `next`. 0: nothing to
 * correct. */
struct flow_cut {
	raft_id id;
	uint64_t next;
};

/* A list with its end. */
struct job_list {
	struct repl_raft_job *first, *last;
	unsigned count;
};

struct read_list {
	struct repl_read *first, *last;
};

struct repl_raft {
	struct repl repl;

	/* Constant. */
	struct store *store;
	struct committer *committer;
	char dir[4096];
	char listen[MEMBER_ADDRESS_MAX];
	struct contact self;
	bool founder, makes_store;
	unsigned election_timeout_ms, heartbeat_ms, max_voters, trailing, snapshot_every;
	char **peers; /* ended by NULL */
	uint64_t log_bytes_max;
	bool told_full;                   /* the log said that the volume is full. The loop's own */
	struct tls *tls;                  /* or NULL */
	const struct http_access *access; /* of the requests to other members; or NULL */
	struct secret *secret;            /* or NULL */
	int (*member_name)(void *arg, unsigned number, char *out, size_t size);
	void (*removed)(void *arg);
	void *arg;

	/* Whether the loop turns: under `life`, held while it is started and stopped. */
	pthread_mutex_t life;
	bool running;
	pthread_t thread;

	/* The loop's own from start to end. */
	uv_loop_t loop;
	uv_async_t wake;
	uv_check_t check;
	uv_timer_t timer; /* a turn now and then, also if nothing happens */
	struct raft raft;
	struct raft_io io;
	struct raft_fsm fsm;
	struct transport transport;
	struct job_list proposed; /* in the log, and not committed; by index */
	unsigned rounds;          /* calls of raft_apply() under way */
	size_t round_bytes;       /* in each of them; constant while the loop runs */
	struct job_list taken;    /* out of the queue, and not proposed */
	struct job_list own;      /* the member's own entries, which wait until a large one is in the log */

	/* The large entry that is being passed in parts (propose.c); job NULL: none. */
	struct {
		struct repl_raft_job *job;
		unsigned char *whole; /* malloc'ed: the entry, `len` bytes, of which `done` are in the log */
		size_t len, done;
	} split;

	/* The committed parts so far (apply.c). */
	struct parts parts;

	int seen_state; /* libraft's, after the last turn */
	uint64_t seen_term;

	/* The log's disk (log.c): libraft's own append(), and whether one has failed in this run. */
	int (*append)(
	    struct raft_io *, struct raft_io_append *, const struct raft_entry[], unsigned, raft_io_append_cb);
	bool log_failed;

	/* Which member has which entries (count.c): libraft's own functions; leading, index of the
	 * term's first entry; following, up to where the leader of same_term was found to have the
	 * same log, and the last entry that the message under way (0: none) speaks of. */
	int (*start)(struct raft_io *, unsigned, raft_io_tick_cb, raft_io_recv_cb);
	int (*send)(struct raft_io *, struct raft_io_send *, const struct raft_message *, raft_io_send_cb);
	raft_io_recv_cb recv;
	uint64_t term_first, same_term, same_until, asked;

	/* The term of the append or pointer that has just been written, while libraft answers to it; 0: none has. And
	 * libraft's own snapshot_put(). */
	uint64_t written_term;
	int (*snapshot_put)(struct raft_io *, unsigned, struct raft_io_snapshot_put *, const struct raft_snapshot *,
	    raft_io_snapshot_put_cb);

	/* The members that the newest pointer names, and the index of their change (rollback.c); 0: there is none. And
	 * libraft's own load(). */
	struct raft_configuration base;
	raft_index base_index;
	int (*load)(struct raft_io *, raft_term *, raft_id *, struct raft_snapshot **, raft_index *,
	    struct raft_entry *[], size_t *);

	/* Must not be on their way to the disk at once (rollback.c): pointers, and entries that are
	 * taken back, until one that was appended after the last of so many truncations is written.
	 * And libraft's own truncate(). */
	unsigned puts;
	uint64_t truncations;
	bool truncating;
	int (*truncate)(struct raft_io *, raft_index);

	/* On the way to each member (flow.c): the sizes of the entries that were sent last, by
	 * index, and the members that were sent less than libraft thinks. */
	uint32_t sent_bytes[FLOW_ENTRIES];
	struct flow_cut cuts_short[PLAN_MEMBERS_MAX];

	/* Kept for members that are being seeded (hold.c): libraft's own snapshot_get(), and
	 * entries after held_index (0: none), of held_bytes by now, until held_until_ms
	 * (monotonic). */
	int (*snapshot_get)(struct raft_io *, struct raft_io_snapshot_get *, raft_io_snapshot_get_cb);
	uint64_t held_index, held_bytes;
	int64_t held_until_ms;
	uint64_t pointed_index; /* of the newest pointer that was sent */

	struct sp_error log_error;

	int64_t end_by_ms; /* monotonic: when libraft is closed although the log is being truncated; 0: not asked yet */
	bool closing;      /* libraft was asked to end, */
	bool closed;       /* and has */
	struct read_list reads; /* for the barrier under way */
	bool barrier_busy;
	struct raft_barrier barrier;

	int64_t former_at_ms; /* monotonic: when former members are sent to next */

	struct raft_transfer transfer;
	bool transferring;

	/* The change of members under way; NULL: none. */
	struct repl_change *change;
	struct contact change_contact;
	bool change_begun, change_noted;
	bool change_handed;         /* the lead is handed over, so that another member continues it */
	int64_t change_deadline_ms; /* monotonic */
	bool change_busy;           /* a step of it, or a promotion, is with libraft */
	struct raft_change change_request;
	uint64_t delivered; /* index of the last entry that the store holds or the committer has been given, */
	uint64_t epoch;     /* and the store's epoch then */
	uint64_t cut_bytes, cut_entries; /* applied since the log was cut last, */
	uint64_t kept_from;              /* which left entries after this one */
	unsigned kept;                   /* so many are kept at the next cut */
	uint64_t needs;                  /* not 0: the log begins beyond this store, which must first hold this index */

	atomic_int role;                                                        /* enum role */
	atomic_uint_fast64_t elections, barriers, log_entries, in_flight, cuts; /* for metrics */
	atomic_uint_fast64_t log_failures, let_go;
	atomic_bool halted; /* an entry could not be applied: none after it may be */

	/* Under lock. */
	pthread_mutex_t lock;
	pthread_cond_t applied_cond; /* applied, outstanding or halted changed */
	struct job_list queue;       /* to be proposed */
	struct read_list read_queue;
	bool accepts; /* the loop takes what is queued */
	bool stop_wanted;
	bool hand_over; /* let another lead; set back when that is over, one way or the other */
	pthread_cond_t handed_cond;
	uint64_t applied;     /* index of the last entry that the store holds */
	unsigned outstanding; /* jobs that the committer has */
	struct position_raft status;
	struct directory directory;
	raft_id leader_id;
	bool was_member;                  /* in this run: it was in the configuration and knew its leader */
	struct repl_change *change_queue; /* at most one */
	struct plan_member members[PLAN_MEMBERS_MAX];
	size_t member_count;

	/* The joiner (join.c); stop_joining under lock. */
	pthread_t joiner;
	bool stop_joining;
	pthread_cond_t join_cond;
	struct http_client *http; /* its own, but for http_client_cancel() */

	/* The reader (read.c); stop_reading under lock. */
	pthread_t reader;
	bool stop_reading;
	pthread_cond_t read_cond;
	struct http_client *reader_http;
};

/* Whose `io` libraft calls. */
static inline struct repl_raft *
repl_raft_of_io(struct raft_io *io)
{
	return (struct repl_raft *)((char *)io - offsetof(struct repl_raft, io));
}

/* --- repl_raft.c --- */

void job_list_push(struct job_list *l, struct repl_raft_job *j);
struct repl_raft_job *job_list_pop(struct job_list *l);
struct repl_raft_job *repl_raft_job_new(struct repl_raft *r);
void repl_raft_job_free(struct repl_raft_job *j);

/* The job is over without having been applied. */
void repl_raft_job_fail(struct repl_raft_job *j, int code, const char *text);

/* --- Start and end (start.c). start: libraft runs, or an error. stop: everything has ended. Under `life`, or
 * the joiner's thread. --- */

int repl_raft_loop_start(struct repl_raft *r, struct sp_error *err);
void repl_raft_loop_stop(struct repl_raft *r);

/* libraft's code as one of ours, with "what: reason". */
int repl_raft_error(struct sp_error *err, int code, const char *reason, const char *what);

/* --- Before founding (found.c), and before the loop runs --- */

/* The founder's store is at `own`: *founds is set back where a peer is a member already, so that this one joins it;
 * SP_EDIVERGED if a store that holds data cannot. Takes two seconds at most. */
int repl_raft_ask_before_founding(struct repl_raft *r, const struct position *own, bool *founds, struct sp_error *err);

/* --- The loop's turns (loop.c). On the loop's thread, or before it runs. --- */

/* Have the loop turn: now and then, and when it is woken. */
void repl_raft_turns_begin(struct repl_raft *r);

/* Turn until the end. A thread's function: takes the struct repl_raft, returns NULL. */
void *repl_raft_turns_run(void *r);

/* See what libraft has become, and act on it: a new leader begins its term, a former one fails its proposals. */
void repl_raft_observe(struct repl_raft *r);

/* Add an entry that changes nothing: what comes before it is committed with it. */
void repl_raft_add_barrier(struct repl_raft *r);

/* Leave the cluster in peace: libraft ends; the loop turns on until it is stopped. */
void repl_raft_begin_end(struct repl_raft *r);

/* Any thread; the loop runs. */
void repl_raft_loop_wake(struct repl_raft *r);

/* --- Proposing (propose.c). On the loop's thread. --- */

/* Take what waits, as far as it may go now. */
void repl_raft_propose_queued(struct repl_raft *r);

/* Propose an entry of the member's own, in front of the clients'. On the leader. */
void repl_raft_propose_text(struct repl_raft *r, enum entry_kind kind, const char *text);

/* The large entry that is being passed in parts is not completed: it was not made. */
void repl_raft_split_fail(struct repl_raft *r, const char *text);

/* Fail what was proposed under the indexes first to last and has not come back. */
void repl_raft_proposed_fail(struct repl_raft *r, uint64_t first, uint64_t last, int code, const char *text);

/* --- The log's disk (log.c). On the loop's thread; has_room: any. --- */

/* Have each append of libraft's pass through here: after raft_uv_init() and before anything is appended. */
void repl_raft_log_watch(struct repl_raft *r);

/* The log could not be written: libraft's code. The turn that is under way deals with it. */
void repl_raft_log_note_failure(struct repl_raft *r, int code);

/* After each turn: where the log could not be written for want of room, libraft ends, and the joiner begins it anew
 * when there is some (MEMBER_ROLE_NO_ROOM until then); where it is the disk, the process ends. */
void repl_raft_log_settle(struct repl_raft *r);

/* libraft takes back entries that another leader replaced by writing what is left of their segment beside it, and then
 * removing the old one. A crash between the two leaves both, and libraft does not start with that. Nothing was written
 * after them yet, so the shorter one goes, as if nothing had been taken back: its leader will have it done again.
 * Before raft_start(). */
int repl_raft_log_undo_truncation(struct repl_raft *r, struct sp_error *err);

/* Whether the volume has room for more of the log. */
bool repl_raft_log_has_room(const struct repl_raft *r);

/* --- Who has which entries on disk, counted right (count.c) --- */

/* Have each message pass through here: after raft_uv_init(). */
void repl_raft_count_watch(struct repl_raft *r);

/* --- A change of members that is taken back (rollback.c). On the loop's thread. --- */

/* Have the pointer that the log begins with noted at the start: after raft_uv_init(). */
void repl_raft_rollback_watch(struct repl_raft *r);

/* This pointer is on disk; what is before it may be cut away. */
void repl_raft_rollback_note(struct repl_raft *r, const struct raft_snapshot *pointer);

/* Before libraft hears of this message: if its entries replace a change of members here, the members are those before
 * it. False: libraft must not hear of it, because the disk is at something else; it was released. */
bool repl_raft_rollback_before(struct repl_raft *r, struct raft_message *m);

/* Whether the log must not be cut now: the newest change of members in it may still be taken back, or entries are. */
bool repl_raft_rollback_is_open(const struct repl_raft *r);

/* The term of an entry that libraft has in memory, or of the last one before these; 0: it has not. */
uint64_t repl_raft_term_at(const struct repl_raft *r, uint64_t index);

/* --- What is on its way to each member (flow.c). On the loop's thread. --- */

/* Bytes of entries that may be on their way to a member at once: what a heartbeat waits behind. So many that a network
 * that carries WINDOW_RATE bytes in a millisecond passes them on in half of the election timeout. */
size_t repl_raft_window_bytes(const struct repl_raft *r);

/* Shorten *m, entries of the log for a member, to what may be on its way to it at once; it may become a heartbeat.
 * False: no heartbeat is due, so nothing is to be sent. */
bool repl_raft_flow_bound(struct repl_raft *r, struct raft_message *m);

/* Have libraft know what was sent: after each of its calls that may send. */
void repl_raft_flow_settle(struct repl_raft *r);

/* --- What is kept of the log for a member that is being seeded (hold.c). On the loop's thread. --- */

/* Note each pointer that is sent: after raft_uv_init(). */
void repl_raft_hold_watch(struct repl_raft *r);

/* Whether the log is not to be cut, when the entry `index` of so many bytes is applied. No longer than ten minutes, nor
 * for more than log_bytes_max of entries; both are counted and logged. */
bool repl_raft_hold_is_on(struct repl_raft *r, uint64_t index, size_t bytes);

/* --- Members (members.c). On the loop's thread: take a request, continue it, list the members,
 * give up. repl_raft_members_json(): any thread. --- */

void repl_raft_members_take(struct repl_raft *r);
void repl_raft_members_turn(struct repl_raft *r);
void repl_raft_members_publish(struct repl_raft *r);
void repl_raft_members_end(struct repl_raft *r);
int repl_raft_members_json(struct repl_raft *r, struct buf *out);

/* --- Linearizable reads (read.c). submit: any thread. turn and end: the loop's. start and stop: the reader's
 * thread. --- */

int repl_raft_read_submit(struct repl_raft *r, struct repl_read *rd, struct sp_error *err);
void repl_raft_read_turn(struct repl_raft *r);
void repl_raft_read_end(struct repl_raft *r);
int repl_raft_read_start(struct repl_raft *r, struct sp_error *err);
void repl_raft_read_stop(struct repl_raft *r);

/* --- Joining (join.c): a thread that has this member added, or finds that it was removed. --- */

int repl_raft_join_start(struct repl_raft *r, struct sp_error *err);
void repl_raft_join_stop(struct repl_raft *r);

/* --- Members that have left (departed.c). On the loop's thread. --- */

void repl_raft_departed_turn(struct repl_raft *r);

/* Whether it is in the configuration; true if there is none yet (start.c). */
bool repl_raft_is_member(const struct repl_raft *r, raft_id id);

/* --- The state machine (apply.c). On the loop's thread. --- */

void repl_raft_fsm_setup(struct repl_raft *r);

/* Wait until the committer has none of this one's jobs: only then may libraft begin anew, or an entry might be applied
 * without the one before it. False if that takes too long. Any thread. */
bool repl_raft_wait_idle(struct repl_raft *r, int64_t timeout_ms);

/* A committed entry must be applied, or nothing after it; the log must keep its entries. If that
 * cannot be done, the process ends, and its next start sees what is on disk. */
_Noreturn void repl_raft_fail_stop(const struct sp_error *err);

#endif
