/* SPDX-License-Identifier: MIT */
/*
 * Tells what libgpusvm finds on this machine and in this process: features of
 * the kernel, privileges and limits, what the library makes of them and why not
 * more, and what a fault, a copy and a move cost.
 *
 * The parts are in gpusvm-info/; here are the options and the order of things.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpusvm-info/info.h"

#define EXIT_USAGE 2

struct settings {
	bool json;
	bool measure;
};

static const char usage[] =
	"usage: gpusvm-info [OPTION]...\n"
	"Tell what libgpusvm can do here, why not more, and what it costs.\n"
	"\n"
	"  -j, --json         print one JSON object instead of text\n"
	"  -n, --no-measure   do not measure (which takes up to 2 seconds)\n"
	"  -h, --help         print this and exit\n"
	"  -V, --version      print the version and exit\n"
	"\n"
	"Exit status: 0 if the library can be used here, 1 if not, 2 for "
	"wrong\n"
	"usage.\n";

/* Exits on --help, --version and wrong usage. */
static void parse_options(int argc, char **argv, struct settings *settings)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "no-measure", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "jnhV", options, NULL)) !=
	       -1) {
		switch (option) {
		case 'j':
			settings->json = true;
			break;
		case 'n':
			settings->measure = false;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			printf("gpusvm-info %s\n", GPUSVM_VERSION);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "gpusvm-info: no arguments, please\n");
		fputs(usage, stderr);
		exit(EXIT_USAGE);
	}
}

static void find_out(struct info *info, const struct settings *settings)
{
	size_t pool = settings->measure ? MEASURE_BYTES : gpusvm_page_size();

	probe_uffd(&info->uffd); /* forks, so no threads before it */
	probe_interfaces(info->interface);
	probe_system(&info->system);
	probe_process(&info->process);
	probe_nodes(&info->nodes);

	probe_sources(info->source, info->uffd.killed);
	library_open(&info->library, info->uffd.killed, pool);
	check_round_trip(&info->library);
	info->measurements.skipped = !settings->measure;
	if (settings->measure)
		measure(&info->measurements, info);
	library_close(&info->library);
	judge(info);
}

int main(int argc, char **argv)
{
	struct settings settings = { .measure = true };
	static struct info info;

	parse_options(argc, argv, &settings);
	find_out(&info, &settings);
	if (settings.json)
		report_json(&info);
	else
		report_text(&info);
	free_nodes(&info.nodes);
	if (fflush(stdout) || ferror(stdout)) {
		perror("gpusvm-info: standard output");
		return 1;
	}
	return info.verdict.usable ? 0 : 1;
}
