/* How a request arrives: whether it is accepted, and its body within the limit for all bodies. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/number.h"
#include "lib/net/listener_internal.h"

#define DRAIN_MAX   (64u << 20) /* a refused body of up to this is read to its end, so that the answer arrives */
#define EARLY_BYTES (64u << 10) /* of the budget for bodies, taken before they come */

void
request_refuse(struct request *rq)
{
	if (rq->refusal == 503)
		request_add_header(rq, "Retry-After", "1");
	if (rq->l->o.refuse != NULL)
		rq->l->o.refuse(rq, rq->refusal, rq->refusal_detail, rq->l->o.arg);
	if (!rq->replied)
		request_reply(rq, rq->refusal, "text/plain", rq->refusal_detail, strlen(rq->refusal_detail));
	rq->phase = REQUEST_HANDLED;
}

void
request_drop_body(struct request *rq)
{
	buf_release(&rq->body);
	/* Most took nothing; the counters are all threads', and dear to touch. */
	if (rq->budgeted > 0)
		atomic_fetch_sub(&rq->l->budget, rq->budgeted);
	rq->budgeted = 0;
}

static void
refuse_later(struct request *rq, unsigned status, const char *detail)
{
	rq->refusal = status;
	rq->refusal_detail = detail;
	request_drop_body(rq); /* not only once it is drained */
}

bool
listener_has_room(struct listener *l, atomic_size_t *taken, size_t budget, size_t own, size_t more)
{
	size_t before = atomic_fetch_add(taken, more);

	if (before + more <= budget || (before == own && before + more <= l->o.largest_bytes))
		return true;
	atomic_fetch_sub(taken, more);
	return false;
}

bool
request_charge(struct request *rq, size_t bytes)
{
	struct listener *l = rq->l;

	if (!listener_has_room(l, &l->budget, l->o.body_budget_bytes, rq->budgeted, bytes))
		return false;
	rq->budgeted += bytes;
	return true;
}

void
request_give_back(struct request *rq)
{
	request_drop_body(rq);
	if (rq->reply_budgeted > 0)
		atomic_fetch_sub(&rq->l->reply_budget, rq->reply_budgeted);
}

/* Whether the request is malformed, and refused for it. Nothing that follows on this connection is read. */
static bool
has_fault(struct request *rq)
{
	const struct framing_fault *fault = input_fault(rq->input, rq->number);

	if (fault == NULL)
		return false;
	request_add_header(rq, "Connection", "close");
	if (rq->refusal == 0)
		refuse_later(rq, fault->status, fault->detail);
	return true;
}

void
request_end_body(struct request *rq)
{
	has_fault(rq);
}

void
request_begin(struct request *rq)
{
	uint64_t announced = 0;
	bool has_body;

	number_from_text(request_header(rq, "Content-Length"), UINT64_MAX, &announced);
	has_body = announced > 0 || request_header(rq, "Transfer-Encoding") != NULL;
	rq->phase = REQUEST_BODY;
	rq->has_body = has_body;
	if (has_fault(rq)) {
		request_refuse(rq);
		return;
	}
	if (rq->l->o.admit != NULL) {
		unsigned status = rq->l->o.admit(rq, &rq->refusal_detail, rq->l->o.arg);

		if (status != 0)
			refuse_later(rq, status, rq->refusal_detail);
	}
	if (!has_body)
		return;
	rq->body.limit = rq->l->o.body_limit != NULL ? rq->l->o.body_limit(rq, rq->l->o.arg) : 0;
	if (rq->refusal != 0)
		; /* none of it is kept */
	else if (announced > rq->body.limit)
		refuse_later(rq, 413, "the body is larger than is allowed here");
	else if (!request_charge(rq, announced < EARLY_BYTES ? (size_t)announced : EARLY_BYTES))
		refuse_later(rq, 503, "too many large requests at once");
	else if (announced > 0 && buf_reserve(&rq->body, (size_t)announced) < 0)
		refuse_later(rq, 503, "out of memory");
	/* A client that waits for 100 Continue has sent nothing yet; a body that is too large is
	 * not read. */
	if (rq->refusal != 0 && (request_header(rq, "Expect") != NULL || announced > DRAIN_MAX))
		request_refuse(rq);
}

/* Count `more` bytes of body, in steps and when they arrive: a client that announces much and sends
 * little must take nothing away from others. */
static bool
count_body(struct request *rq, size_t more)
{
	size_t need = rq->body.len + more;

	if (need <= rq->budgeted)
		return true;
	need -= rq->budgeted;
	return request_charge(rq, need > EARLY_BYTES ? need : EARLY_BYTES) || request_charge(rq, need);
}

bool
request_take_body(struct request *rq, const char *data, size_t len)
{
	if (rq->refusal == 0 && rq->body.len + len > rq->body.limit)
		refuse_later(rq, 413, "the body is larger than is allowed here");
	guard_moved(rq->guarded, len);
	if (rq->refusal == 0 && !count_body(rq, len))
		refuse_later(rq, 503, "too many large requests at once");
	if (rq->refusal == 0 && buf_add(&rq->body, data, len) < 0)
		refuse_later(rq, 503, "out of memory");
	if (rq->refusal != 0)
		rq->drained += len;
	return rq->drained <= DRAIN_MAX;
}
