/*
 * The command line that the three programs share: --config FILE, --check, --print, --help, --version, and each
 * program's own options.
 */
#ifndef CONF_CLI_H_
#define CONF_CLI_H_

#include "conf/conf.h"

/* One option of a program's own. */
struct cli_option {
	const char *name;     /* without the dashes */
	const char *argument; /* what --help calls its argument; NULL: it takes none */
	const char *help;     /* for --help */
	bool offline;         /* if this one is given, no configuration is loaded, */
	bool online;          /* unless this one is given too */
	bool given;           /* out */
	const char *value;    /* out: the argument, or NULL */
};

struct cli {
	const char *program;        /* seedpod-init */
	const char *summary;        /* one sentence for --help */
	const char *after_help;     /* text after the options in --help: examples, exit codes; or NULL */
	struct cli_option *options; /* ended by one without a name; or NULL */

	bool other_stores; /* the program works with stores that are not seedpod-server's ([store] driver) */

	const char *config_path; /* out; CONF_DEFAULT_PATH, or $SEEDPOD_CONFIG, or --config */
	struct conf conf;        /* out */
	struct sp_error
	    refused; /* out: why there is none to continue with; conf.pod_termination_log is set all the same */
};

/*
 * Give up what no program needs (lib/base/sandbox.h), parse argv (getopt_long), load the
 * configuration and set up the log. Returns -1 if the program is to continue, or the exit code with
 * which it ends now: 0 after --help, --version, --check (prints "FILE: ok") and --print; 64 and a
 * hint on standard error for an unknown option or a stray argument; 78 (or what sp_code_exit()
 * says) and the reason for a bad configuration, or for one of a store that the program cannot work with.
 */
int cli_parse(struct cli *cli, int argc, char **argv);

#endif
