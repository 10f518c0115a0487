#include "init/manifest.h"

#include <stdio.h>

#include <jansson.h>

/* LMDB's bounds. */
#define PAGE_SIZE_MIN 256
#define PAGE_SIZE_MAX 32768

static int
read_own_members(json_t *json, struct manifest *out, struct sp_error *err)
{
	json_t *format = json_object_get(json, "format"), *bytes = json_object_get(json, "bytes");
	json_int_t page = json_integer_value(json_object_get(json, "page_size"));
	const char *donor = json_string_value(json_object_get(json, "donor"));

	if (!json_is_integer(format))
		return sp_error_set(err, SP_EBADDATA, "\"format\" is missing or no number");
	if (json_integer_value(format) != MANIFEST_FORMAT)
		return sp_error_set(err, SP_EBADDATA, "format %lld is not known; this program knows %d",
		    (long long)json_integer_value(format), MANIFEST_FORMAT);
	if (!json_is_integer(bytes) || json_integer_value(bytes) <= 0)
		return sp_error_set(err, SP_EBADDATA, "\"bytes\" is missing or no positive number");
	if (page < PAGE_SIZE_MIN || page > PAGE_SIZE_MAX || (page & (page - 1)) != 0)
		return sp_error_set(
		    err, SP_EBADDATA, "\"page_size\" is missing or not what LMDB can have: %lld", (long long)page);
	if (json_integer_value(bytes) % page != 0)
		return sp_error_set(err, SP_EBADDATA,
		    "\"bytes\" is %lld, which is no whole number of pages of %lld bytes",
		    (long long)json_integer_value(bytes), (long long)page);
	out->bytes = (uint64_t)json_integer_value(bytes);
	snprintf(out->donor, sizeof(out->donor), "%s", donor != NULL ? donor : "");
	return 0;
}

int
manifest_parse(const char *json, size_t len, struct manifest *out, struct sp_error *err)
{
	struct manifest found = { 0 };
	json_error_t where;
	json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where);
	int rc;

	if (root == NULL)
		return sp_error_set(err, SP_EBADDATA, "seedpod.json: line %d: %s", where.line, where.text);
	if ((rc = read_own_members(root, &found, err)) == 0)
		rc = position_from_json(json, len, &found.position, err);
	if (rc == 0 && found.position.cluster[0] == '\0')
		rc = sp_error_set(err, SP_EBADDATA, "\"cluster\" is empty");
	json_decref(root);
	if (rc < 0)
		return sp_error_wrap(err, "seedpod.json");
	*out = found;
	return 0;
}
