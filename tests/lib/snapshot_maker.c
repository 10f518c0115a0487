#include "tests/lib/snapshot_maker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/tar_maker.h"

static void
must(int rc)
{
	if (rc < 0)
		abort();
}

void
snapshot_init(struct snapshot *s, size_t data_bytes)
{
	memset(s, 0, sizeof(*s));
	buf_init(&s->manifest, 1u << 20);
	buf_init(&s->data, 64u << 20);
	buf_init(&s->sums, 1u << 20);
	snprintf(s->position.cluster, sizeof(s->position.cluster), SNAPSHOT_CLUSTER);
	s->position.epoch = 1;
	s->position.seq = 200;
	s->position.keys = 150;
	s->position.digest = (struct digest){ 7, 11 };
	for (size_t i = 0; i < data_bytes; i++)
		must(buf_add(&s->data, &(char){ (char)(i * 2654435761u >> 11) }, 1));
	snapshot_seal(s);
}

void
snapshot_maker_release(struct snapshot *s)
{
	buf_release(&s->manifest);
	buf_release(&s->data);
	buf_release(&s->sums);
}

static void
seal_sums(struct snapshot *s)
{
	char hex[DIGEST_HEX_SIZE];

	buf_reset(&s->sums);
	digest_to_hex(digest_of(s->manifest.data, s->manifest.len), hex);
	must(buf_printf(&s->sums, "%s  seedpod.json\n", hex));
	digest_to_hex(digest_of(s->data.data, s->data.len), hex);
	must(buf_printf(&s->sums, "%s  store/data.mdb\n", hex));
	digest_to_hex(digest_of(s->sums.data, s->sums.len), hex);
	must(buf_printf(&s->sums, "# total %s\n", hex));
}

void
snapshot_seal(struct snapshot *s)
{
	char digest[DIGEST_HEX_SIZE];

	digest_to_hex(s->position.digest, digest);
	buf_reset(&s->manifest);
	must(buf_printf(&s->manifest,
	    "{\"format\":1,\"cluster\":\"%s\",\"epoch\":%" PRIu64 ",\"seq\":%" PRIu64
	    ",\"digest\":\"%s\",\"keys\":%" PRIu64 ",\"horizon\":0,\"bytes\":%zu,\"page_size\":4096,\"created\":\"2026-"
	    "11-20T11:02:03.123Z\",\"donor\":\"store-0\","
	    "\"history\":[{\"epoch\":1,\"since\":0}]}\n",
	    s->position.cluster, s->position.epoch, s->position.seq, digest, s->position.keys, s->data.len));
	seal_sums(s);
}

void
snapshot_pack(const struct snapshot *s, struct buf *tar)
{
	tar_maker_add(tar, '0', "seedpod.json", "", s->manifest.data, s->manifest.len);
	tar_maker_add(tar, '0', "store/data.mdb", "", s->data.data, s->data.len);
	tar_maker_add(tar, '0', "seedpod.sums", "", s->sums.data, s->sums.len);
	tar_maker_end(tar);
}
