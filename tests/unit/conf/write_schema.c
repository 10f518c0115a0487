/* Prints what follows from the schema: write_schema sample|markdown|mdoc. conf/write-docs puts it in its places. */
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"

int
main(int argc, char **argv)
{
	struct buf out;
	int rc = SP_EUSAGE;

	buf_init(&out, 1 << 20);
	if (argc == 2 && strcmp(argv[1], "sample") == 0)
		rc = conf_write_sample(&out);
	else if (argc == 2 && strcmp(argv[1], "markdown") == 0)
		rc = conf_write_markdown(&out);
	else if (argc == 2 && strcmp(argv[1], "mdoc") == 0)
		rc = conf_write_mdoc(&out);
	else
		fprintf(stderr, "usage: write_schema sample|markdown|mdoc\n");
	if (rc == 0 && (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) == EOF))
		rc = SP_EIO;
	buf_release(&out);
	return sp_code_exit(rc);
}
