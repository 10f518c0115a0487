#include <check.h>
#include <string.h>

#include "lib/protocol/pod.h"
#include "tests/lib/suite.h"

static struct pod
mystore_2(void)
{
	struct pod pod = { 0 };

	ck_assert_int_eq(pod_parse_name("mystore-2", &pod, NULL), 0);
	strncpy(pod.service, "headless", sizeof(pod.service) - 1);
	strncpy(pod.name_space, "prod", sizeof(pod.name_space) - 1);
	return pod;
}

START_TEST(pod_parse_name__splits_at_the_last_dash)
{
	struct pod pod = { .service = "kept" };

	ck_assert_int_eq(pod_parse_name("my-big-store-9999", &pod, NULL), 0);
	ck_assert_str_eq(pod.name, "my-big-store-9999");
	ck_assert_str_eq(pod.set, "my-big-store");
	ck_assert_uint_eq(pod.ordinal, 9999);
	ck_assert_str_eq(pod.service, "kept");
	ck_assert_int_eq(pod_parse_name("a-0", &pod, NULL), 0);
	ck_assert_str_eq(pod.name, "a-0");
	ck_assert_str_eq(pod.set, "a");
	ck_assert_uint_eq(pod.ordinal, 0);
}
END_TEST

START_TEST(pod_parse_name__refuses_what_has_no_ordinal)
{
	static const char *const names[] = { "", "mystore", "mystore-", "-0", "mystore-x", "mystore-1x",
		"mystore-10000", "mystore-00", "mystore-01", "mystore-+1", "mystore- 1" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct pod pod = { .name = "before-7", .ordinal = 7 };
		struct sp_error err = { 0 };

		ck_assert_msg(pod_parse_name(names[i], &pod, &err) == SP_ECONF, "%s", names[i]);
		ck_assert_ptr_nonnull(strstr(err.text, "<set>-<ordinal>"));
		ck_assert_str_eq(pod.name, "before-7");
		ck_assert_uint_eq(pod.ordinal, 7);
	}
}
END_TEST

START_TEST(pod_parse_name__refuses_a_name_too_long)
{
	char name[POD_NAME_MAX + 1];
	struct pod pod = { 0 };
	struct sp_error err = { 0 };

	memset(name, 'a', sizeof(name));
	memcpy(name + sizeof(name) - 3, "-1", 3);
	ck_assert_int_eq(pod_parse_name(name, &pod, &err), SP_ECONF);
	ck_assert_int_eq(pod_parse_name(name + 1, &pod, &err), 0);
	ck_assert_str_eq(pod.name, name + 1);
}
END_TEST

START_TEST(pod_expand__fills_every_word)
{
	struct pod pod = mystore_2();
	char out[200];

	ck_assert_int_eq(
	    pod_expand("{set} {ordinal} {name} {service} {namespace} }x", &pod, pod.ordinal, out, sizeof(out), NULL),
	    0);
	ck_assert_str_eq(out, "mystore 2 mystore-2 headless prod }x");
}
END_TEST

START_TEST(pod_expand__for_another_ordinal)
{
	struct pod pod = mystore_2();
	char out[200];

	ck_assert_int_eq(
	    pod_expand("http://{name}.{service}.{namespace}.svc:{ordinal}", &pod, 10, out, sizeof(out), NULL), 0);
	ck_assert_str_eq(out, "http://mystore-10.headless.prod.svc:10");
}
END_TEST

START_TEST(pod_expand__unknown_word_is_named)
{
	struct pod pod = mystore_2();
	struct sp_error err = { 0 };
	char out[50] = "before";

	ck_assert_int_eq(pod_expand("a{pod}", &pod, 0, out, sizeof(out), &err), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, "{pod}"));
	ck_assert_ptr_nonnull(strstr(err.text, "{ordinal}"));
	ck_assert_int_eq(pod_expand("a{}", &pod, 0, out, sizeof(out), &err), SP_ECONF);
	ck_assert_int_eq(pod_expand("a{Name}", &pod, 0, out, sizeof(out), &err), SP_ECONF);
	ck_assert_str_eq(out, "before");
}
END_TEST

START_TEST(pod_expand__unclosed_brace)
{
	struct pod pod = mystore_2();
	struct sp_error err = { 0 };
	char out[50];

	ck_assert_int_eq(pod_expand("/data/{name", &pod, 0, out, sizeof(out), &err), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, "unclosed"));
	ck_assert_ptr_nonnull(strstr(err.text, "/data/{name"));
}
END_TEST

START_TEST(pod_expand__word_without_value)
{
	struct pod pod = { 0 };
	struct sp_error err = { 0 };
	char out[50];

	ck_assert_int_eq(pod_expand("x-{ordinal}", &pod, 0, out, sizeof(out), &err), SP_ECONF);
	ck_assert_int_eq(pod_expand("{service}", &pod, 0, out, sizeof(out), &err), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, "{service}"));
	ck_assert_int_eq(pod_expand("plain", &pod, 0, out, sizeof(out), &err), 0);
	ck_assert_str_eq(out, "plain");
}
END_TEST

START_TEST(pod_expand__result_must_fit)
{
	struct pod pod = mystore_2();
	struct sp_error err = { 0 };
	char out[11] = "before";

	ck_assert_int_eq(pod_expand("x{name}yz", &pod, 2, out, sizeof(out), &err), SP_ETOOBIG);
	ck_assert_str_eq(out, "before");
	ck_assert_int_eq(pod_expand("x{name}", &pod, 2, out, sizeof(out), &err), 0);
	ck_assert_str_eq(out, "xmystore-2");
	ck_assert_int_eq(pod_expand("", &pod, 2, out, 0, &err), SP_ETOOBIG);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		pod_parse_name__splits_at_the_last_dash,
		pod_parse_name__refuses_what_has_no_ordinal,
		pod_parse_name__refuses_a_name_too_long,
		pod_expand__fills_every_word,
		pod_expand__for_another_ordinal,
		pod_expand__unknown_word_is_named,
		pod_expand__unclosed_brace,
		pod_expand__word_without_value,
		pod_expand__result_must_fit,
	};

	return suite_run("pod", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
