#include "tests/lib/donor.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_ID "d0e1f2a3-0000-4000-8000-000000000001"

static bool
send_status(int fd, int status, const char *text)
{
	char head[512];

	snprintf(head, sizeof(head),
	    "HTTP/1.1 %d x\r\nContent-Type: application/problem+json\r\nContent-Length: %zu\r\n\r\n%s", status,
	    strlen(text), text);
	return peer_send_text(fd, head);
}

static bool
send_position(int fd, const struct donor_pod *pod)
{
	char *text = position_to_json(&pod->position), head[128];
	bool sent;

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(text));
	sent = peer_send_text(fd, head) && peer_send_text(fd, text);
	free(text);
	return sent;
}

/* The answer from `offset` on, as `pod` (a copy) wants it. */
static bool
send_snapshot(int fd, const struct donor_pod *pod, size_t offset)
{
	size_t len = pod->tar.len - offset;
	char head[512];

	snprintf(head, sizeof(head),
	    "HTTP/1.1 200 OK\r\nSeedpod-Snapshot-Id: " SNAPSHOT_ID
	    "\r\nSeedpod-Offset: %zu\r\nContent-Length: %zu\r\n\r\n",
	    offset, len + pod->announce_more);
	if (pod->no_length)
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	if (!peer_send_text(fd, head))
		return false;
	if (pod->cut_at > 0 && pod->cuts > 0 && pod->cut_at < len) {
		peer_send(fd, pod->tar.data + offset, pod->cut_at);
		if (pod->stall)
			peer_stall(fd);
		return false;
	}
	if (!peer_send(fd, pod->tar.data + offset, len))
		return false;
	if (pod->endless != NULL)
		peer_endless(fd, pod->endless, strlen(pod->endless));
	return pod->announce_more == 0 && !pod->no_length;
}

/* Count the request and take a copy of what the pod is told, so that nothing is sent under the lock. */
static struct donor_pod
note_snapshot(struct donor *d, struct donor_pod *pod, bool resume)
{
	struct donor_pod copy;

	pthread_mutex_lock(&d->lock);
	copy = *pod;
	if (pod->cuts > 0)
		pod->cuts--;
	pod->absent = pod->vanishes;
	if (resume)
		pod->resumes++;
	else
		pod->snapshots++;
	pthread_mutex_unlock(&d->lock);
	return copy;
}

static bool
answer(int fd, const char *request, void *arg)
{
	struct donor *d = arg;
	struct donor_pod *pod, copy;
	const char *offset = strstr(request, "&offset="), *line_end = strstr(request, "\r\n");
	unsigned number = 0;

	if (sscanf(request, "GET /%u/", &number) != 1 || number >= DONOR_PODS)
		return send_status(fd, 404, "{\"detail\":\"no such pod\"}");
	pod = &d->pods[number];
	pthread_mutex_lock(&d->lock);
	copy = *pod;
	pthread_mutex_unlock(&d->lock);
	if (copy.absent)
		return false;
	if (copy.no_store)
		return send_status(fd, 503, "{\"detail\":\"no store\"}");
	if (strstr(request, "/v1/position ") != NULL)
		return send_position(fd, &copy);
	if (copy.broken_snapshots)
		return send_status(fd, 500, "{\"detail\":\"broken\"}");
	if (offset == NULL || offset > line_end) {
		copy = note_snapshot(d, pod, false);
		return send_snapshot(fd, &copy, 0);
	}
	copy = note_snapshot(d, pod, true);
	if (!copy.holds || copy.forgets)
		return send_status(fd, 410, "{\"detail\":\"no longer held\"}");
	return send_snapshot(fd, &copy, (size_t)strtoull(offset + 8, NULL, 10));
}

void
donor_init(struct donor *d)
{
	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->lock, NULL);
	for (size_t i = 0; i < DONOR_PODS; i++) {
		d->pods[i].absent = true;
		buf_init(&d->pods[i].tar, 64u << 20);
	}
	d->server = peer_server_new(answer, d);
}

void
donor_release(struct donor *d)
{
	peer_server_free(d->server);
	for (size_t i = 0; i < DONOR_PODS; i++)
		buf_release(&d->pods[i].tar);
	pthread_mutex_destroy(&d->lock);
}
