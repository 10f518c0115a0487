#include "sidecar/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "sidecar/metrics_page.h"
#include "sidecar/status_page.h"
#include "sidecar/view.h"

#define PAGE_LIMIT_BYTES (2u << 20)
#define TEXT_TYPE        "text/plain; charset=utf-8"

static void
reply_text(struct request *rq, unsigned status, const char *text)
{
	request_reply(rq, status, TEXT_TYPE, text, strlen(text));
}

static void
reply_page(struct request *rq, unsigned status, const char *type, int rc, struct buf *page)
{
	if (rc < 0)
		reply_text(rq, 500, "out of memory\n");
	else
		request_reply_buf(rq, status, type, page);
	buf_release(page);
}

/* ?verbose, with or without a value, as Kubernetes' own servers take it; ?verbose=0 and =false say no. */
static bool
is_verbose(const struct request *rq)
{
	char value[8];
	int len = request_query(rq, "verbose", value, sizeof(value));

	return len != REQUEST_QUERY_ABSENT && len != REQUEST_QUERY_BAD && strcmp(value, "0") != 0 &&
	       strcmp(value, "false") != 0;
}

static void
livez(struct request *rq, struct pages *p)
{
	char why[160] = "";
	char text[256];
	bool live = view_live(p->state, clock_mono_ms(), why, sizeof(why));

	if (!is_verbose(rq))
		snprintf(text, sizeof(text), "%s\n", live ? "ok" : why);
	else if (live)
		snprintf(text, sizeof(text), "[+]loops ok\nlive\n");
	else
		snprintf(text, sizeof(text), "[-]%s\nnot live\n", why);
	reply_text(rq, live ? 200 : 503, text);
}

/* The first check that fails, for the short page. */
static const char *
first_reason(const struct readiness *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (!r->checks[i].ok)
			return r->checks[i].text;
	return "not ready";
}

static void
readyz(struct request *rq, struct pages *p)
{
	struct readiness r;
	struct buf page;
	int rc = 0;

	view_readiness(p->state, clock_mono_ms(), &r);
	buf_init(&page, PAGE_LIMIT_BYTES);
	if (!is_verbose(rq)) {
		rc = buf_printf(&page, "%s\n", r.ready ? "ok" : first_reason(&r));
	} else {
		for (size_t i = 0; i < r.count && rc == 0; i++)
			rc = buf_printf(&page, "[%c]%s\n", r.checks[i].ok ? '+' : '-', r.checks[i].text);
		rc = rc < 0 ? rc : buf_printf(&page, "%s\n", r.ready ? "ready" : "not ready");
	}
	reply_page(rq, r.ready ? 200 : 503, TEXT_TYPE, rc, &page);
}

/* What the configuration's watcher says, or if there is none, what follows from the state's. */
static void
conf_status(struct pages *p, const struct conf *conf, struct reload_status *out)
{
	memset(out, 0, sizeof(*out));
	if (p->reload != NULL) {
		reload_status(p->reload, out);
		return;
	}
	out->success = true;
	memcpy(out->hash, conf->hash, sizeof(out->hash));
}

static void
metrics(struct request *rq, struct pages *p)
{
	struct reload_status conf;
	struct metrics_seed seed;
	struct view v;
	struct buf page;
	char *seed_json;
	int rc;

	view_take(p->state, clock_mono_ms(), &v);
	conf_status(p, &v.conf, &conf);
	seed_json = view_seed(p->state);
	seed = metrics_page_seed(seed_json);
	free(seed_json);
	buf_init(&page, PAGE_LIMIT_BYTES);
	rc = metrics_page_write(&page, &v, &conf, &seed);
	if (rc == 0 && p->access_control != NULL)
		rc = access_control_metrics(p->access_control, "seedpod_", &page);
	if (rc == 0)
		rc = view_server_metrics(p->state, &page);
	reply_page(rq, 200, METRICS_PAGE_TYPE, rc, &page);
}

static void
status(struct request *rq, struct pages *p)
{
	struct reload_status conf;
	struct view v;
	struct buf page;
	char *seed_json;
	char *text;
	int rc;

	view_take(p->state, clock_mono_ms(), &v);
	conf_status(p, &v.conf, &conf);
	seed_json = view_seed(p->state);
	text = status_page(&v, &conf, seed_json);
	free(seed_json);
	buf_init(&page, PAGE_LIMIT_BYTES);
	rc = text != NULL ? buf_printf(&page, "%s\n", text) : SP_ENOMEM;
	free(text);
	reply_page(rq, 200, "application/json", rc, &page);
}

unsigned
pages_admit(struct request *rq, const char **detail, void *arg)
{
	const struct pages *p = arg;
	struct tokens *tokens = p->access_control != NULL ? p->access_control->tokens : NULL;
	const char *path = request_path(rq);
	unsigned roles;

	if (tokens == NULL || (strcmp(path, "/metrics") != 0 && strcmp(path, "/status") != 0) ||
	    !tokens_has(tokens, TOKEN_METRICS))
		return 0;
	roles = tokens_roles(tokens, request_header(rq, "Authorization"));
	if ((roles & TOKEN_METRICS) != 0)
		return 0;
	*detail =
	    roles == 0 ? "a bearer token of the role metrics is needed here\n" : "the token does not allow this\n";
	return roles == 0 ? 401 : 403;
}

void
pages_refuse(struct request *rq, unsigned status, const char *detail, void *arg)
{
	/* No page takes a body, so it is the method that is wrong, or the path; a GET may have one for nothing. */
	if (status == 413) {
		pages_handle(rq, arg);
		return;
	}
	if (status == 401)
		request_add_header(rq, "WWW-Authenticate",
		    request_header(rq, "Authorization") == NULL ? "Bearer realm=\"seedpod\""
								: "Bearer realm=\"seedpod\", error=\"invalid_token\"");
	else if (status == 403)
		request_add_header(rq, "WWW-Authenticate", "Bearer realm=\"seedpod\", error=\"insufficient_scope\"");
	reply_text(rq, status, detail);
}

void
pages_handle(struct request *rq, void *arg)
{
	static const struct {
		const char *path;
		void (*reply)(struct request *rq, struct pages *p);
	} pages[] = {
		{ "/livez", livez },
		{ "/readyz", readyz },
		{ "/metrics", metrics },
		{ "/status", status },
	};
	const char *method = request_method(rq);

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (strcmp(request_path(rq), pages[i].path) != 0)
			continue;
		if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
			request_add_header(rq, "Allow", "GET, HEAD");
			reply_text(rq, 405, "method not allowed\n");
			return;
		}
		request_add_header(rq, "Cache-Control", "no-store");
		pages[i].reply(rq, arg);
		return;
	}
	reply_text(rq, 404, "not found: there are /livez, /readyz, /metrics and /status\n");
}
