#include "init/sums.h"

#include <string.h>

#define HEX_LEN (DIGEST_HEX_SIZE - 1)

/* Take `word` off the front of the text. */
static bool
take_word(const char **at, const char *end, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(end - *at) < len || memcmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

static bool
take_hash(const char **at, const char *end, struct digest *out)
{
	char hex[DIGEST_HEX_SIZE];

	if ((size_t)(end - *at) < HEX_LEN)
		return false;
	memcpy(hex, *at, HEX_LEN);
	hex[HEX_LEN] = '\0';
	if (digest_from_hex(hex, out) < 0)
		return false;
	*at += HEX_LEN;
	return true;
}

static int
compare(const char *what, struct digest expected, struct digest found, struct sums_fault *fault, struct sp_error *err)
{
	if (digest_equal(expected, found))
		return 0;
	digest_to_hex(expected, fault->expected);
	digest_to_hex(found, fault->found);
	return sp_error_set(err, SP_EBADDATA, "%s is not what was sent: expected XXH3-128 %s, found %s", what,
	    fault->expected, fault->found);
}

int
sums_check(const char *text, size_t len, struct digest manifest, struct digest data, struct sums_fault *fault,
    struct sp_error *err)
{
	const char *at = text, *end = text + len;
	struct digest said_manifest, said_data, said_total, total;
	int rc;

	memset(fault, 0, sizeof(*fault));
	if (!take_hash(&at, end, &said_manifest) || !take_word(&at, end, "  seedpod.json\n"))
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: line 1 is not the hash of seedpod.json");
	if (!take_hash(&at, end, &said_data) || !take_word(&at, end, "  store/data.mdb\n"))
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: line 2 is not the hash of store/data.mdb");
	total = digest_of(text, (size_t)(at - text));
	if (!take_word(&at, end, "# total ") || !take_hash(&at, end, &said_total) || !take_word(&at, end, "\n"))
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: line 3 is not the total");
	if (at != end)
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: there is more after line 3");
	if ((rc = compare("seedpod.sums itself", said_total, total, fault, err)) < 0 ||
	    (rc = compare("seedpod.json", said_manifest, manifest, fault, err)) < 0)
		return rc;
	return compare("store/data.mdb", said_data, data, fault, err);
}
