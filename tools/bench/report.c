/* SPDX-License-Identifier: MIT */
/* Text and JSON: see report.h. */
#include "report.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "../gpusvm-info/json.h"

static const char *placement_words(const struct measure *measure)
{
	return measure->placement == SAME_CPU ? "same CPU" : "unpinned";
}

static const char *better_word(const struct measure *measure)
{
	return measure->better == HIGHER ? "higher" : "lower";
}

void report_list(const struct measure *measure)
{
	printf("%s: %s, in %s; %s is better", measure->name, measure->what,
	       measure->unit, better_word(measure));
	if (measure->reach > 0)
		printf(", to reach: ratio %s %.2f",
		       measure->better == HIGHER ? ">=" : "<=", measure->reach);
	printf("; against: %s (%s)\n", measure->baseline,
	       placement_words(measure));
}

void report_begin(bool json, double seconds)
{
	struct utsname uts;

	if (!json)
		return;
	json_object(NULL);
	json_number("format", 1);
	json_string("version", gpusvm_version());
	json_string("kernel", uname(&uts) ? NULL : uts.release);
	json_string("machine", uname(&uts) ? NULL : uts.machine);
	json_number("cpus", cpu_count());
	json_real("seconds", seconds);
	json_list("measures");
}

void report_end(bool json)
{
	if (!json)
		return;
	json_list_end();
	json_object_end();
}

static void print_json(const struct measure *measure,
		       const struct outcome *outcome)
{
	json_object(NULL);
	json_string("name", measure->name);
	json_string("what", measure->what);
	json_string("baseline", measure->baseline);
	json_string("placement", placement_words(measure));
	json_string("unit", measure->unit);
	json_string("better", better_word(measure));
	if (measure->reach > 0)
		json_real("reach", measure->reach);
	else
		json_null("reach");
	json_string("skipped",
		    outcome->err == SKIPPED ? outcome->reason : NULL);
	json_string("failed", outcome->err < 0 ? outcome->reason : NULL);
	if (!outcome->err) {
		json_number("rounds", outcome->rounds);
		json_real("ratio", outcome->ratio);
		json_real("p10", outcome->p10);
		json_real("p90", outcome->p90);
		json_real("ours", outcome->ours);
		json_real("base", outcome->base);
	}
	json_object_end();
}

static void print_text(const struct measure *measure,
		       const struct outcome *outcome)
{
	if (outcome->err)
		printf("%s %s=%s\n", measure->name,
		       outcome->err == SKIPPED ? "skipped" : "failed",
		       outcome->reason);
	else
		printf("%s ratio=%.3f p10=%.3f p90=%.3f ours=%.4g base=%.4g "
		       "unit=%s baseline=%s (%s)\n",
		       measure->name, outcome->ratio, outcome->p10,
		       outcome->p90, outcome->ours, outcome->base,
		       measure->unit, measure->baseline,
		       placement_words(measure));
	fflush(stdout); /* the next one takes its time */
}

void report_outcome(bool json, const struct measure *measure,
		    const struct outcome *outcome)
{
	if (json)
		print_json(measure, outcome);
	else
		print_text(measure, outcome);
}
