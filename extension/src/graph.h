/*
 * graph.h
 *		The graph of a version: who needs whom, and what follows from it.
 *
 * A graph is built once, when a version is defined, and written as one bytea
 * that is read in place: opening a graph only finds its arrays. In C a step is
 * counted from 0 (step = def_no - 1). SQL sees def_nos, counted from 1.
 *
 * Passes over a graph go by places: from the first place up, needs come before
 * their dependents. The steps of a definition are numbered so that a step's
 * number is its place. A run that grows keeps the numbers it has handed out, so
 * there a need may have the higher number, and `order` says who stands where.
 */
#ifndef MILLRACE_GRAPH_H
#define MILLRACE_GRAPH_H

#include "fmgr.h"

/* Rules, as numbered in definitions. */
#define RULE_ALL_COMPLETED 0
#define RULE_ALL_DONE 1
#define RULE_NONE_FAILED 2
#define RULE_DECIDES_EARLY 10	/* from here on */

/*
 * The neighbours of each step in one direction: those of s are
 * items[start[s]] to items[start[s + 1] - 1], first the counted ones, then
 * the implied ones, each part ascending.
 */
typedef struct GraphNeighbours
{
	int32	   *start;
	int32	   *counted;		/* how many of them are counted */
	int32	   *items;
} GraphNeighbours;

/* Compressed bitmaps, one a step; those of s are bytes start[s] to start[s + 1] of `bytes`. */
typedef struct GraphPaths
{
	uint32	   *start;
	char	   *bytes;
} GraphPaths;

typedef struct MillraceGraph
{
	int			step_count;
	int			edge_count;
	float4	   *expected;		/* seconds */
	float4	   *rank;			/* seconds on the longest path from here to the end, itself included */
	int32	   *level;			/* steps on the longest path before it */
	int16	   *rule;
	int32	   *order;			/* by place: the step; null if each stands at its number */
	GraphNeighbours needs;
	GraphNeighbours dependents;
	bool		has_paths;		/* else the bitmaps were too large, and a sweep answers */
	GraphPaths	ancestors;
	GraphPaths	descendants;
} MillraceGraph;

/* The step at a place. */
static inline int
millrace_graph_at(const int32 *order, int place)
{
	return order ? order[place] : place;
}

/* graph_cache.c: valid until the next call. */
extern const MillraceGraph *millrace_graph_open(Datum graph);

/* graph_format.c */
typedef struct GraphDigest
{
	uint64		hash;
	uint64		size;
} GraphDigest;

extern bytea *millrace_graph_write(const MillraceGraph *graph);
extern GraphDigest millrace_graph_digest(Datum graph);
extern void millrace_graph_read(MillraceGraph *graph, bytea *bytes);

/* graph_order.c */
extern void millrace_graph_group_edges(int step_count, const int32 *from, const int32 *to, int edge_count,
									   GraphNeighbours *dependents);
extern bool millrace_graph_number(int step_count, const GraphNeighbours *dependents, int32 *number_of);
extern bool millrace_graph_place(int step_count, const GraphNeighbours *dependents, int32 *place_of);
extern int32 *millrace_graph_find_cycle(int step_count, const GraphNeighbours *dependents,
										const int32 *number_of, int *length);
extern void millrace_graph_renumber(int step_count, const GraphNeighbours *dependents,
									const int32 *number_of, GraphNeighbours *needs);
extern void millrace_graph_invert(int step_count, const GraphNeighbours *needs, GraphNeighbours *dependents);
extern int32 *millrace_graph_order(int step_count, const int32 *place_of);
extern void millrace_graph_relabel(int step_count, const int32 *order, const GraphNeighbours *by_place,
								   GraphNeighbours *needs);
extern int	millrace_graph_compare(const void *a, const void *b);

/* graph_reduce.c */
extern void millrace_graph_reduce(int step_count, const int16 *rule, GraphNeighbours *needs);

/* graph_paths.c */
typedef struct Paths Paths;

extern Paths *millrace_paths_begin(int step_count, const GraphPaths *known, int known_count);
extern void millrace_paths_join(Paths *paths, int step, const int32 *neighbours, int count, bool *implied);
extern bool millrace_paths_end(Paths *paths, Size *bytes_left, GraphPaths *written);
extern bool millrace_graph_build_paths(MillraceGraph *graph, Size bytes_left);
extern int32 *millrace_graph_list_path(const GraphPaths *paths, int step, int *count);
extern bool millrace_graph_path_contains(const GraphPaths *paths, int step, int other);

/* graph_rank.c */
extern int32 millrace_graph_level_of(const MillraceGraph *graph, int step);
extern void millrace_graph_level(MillraceGraph *graph);
extern double *millrace_graph_rank(const MillraceGraph *graph, const float4 *seconds);

/* graph_build.c: in the order of the OUT parameters of all functions that make a graph. */
enum
{
	GRAPH_DEF_NO, GRAPH_LEVEL, GRAPH_RANK, GRAPH_NEEDS_COUNT, GRAPH_CLOSING,
	GRAPH_DEPENDENTS_START, GRAPH_DEPENDENTS, GRAPH_IMPLIED_FROM, GRAPH_IMPLIED_TO,
	GRAPH_CYCLE, GRAPH_GRAPH, GRAPH_COLUMNS
};

extern void millrace_graph_check_limit(const char *what, int count, int limit);
extern void millrace_graph_check_ordinals(const char *name, const int32 *ordinals, int count, int step_count);
extern void millrace_graph_fill(const MillraceGraph *graph, const int32 *number_of, Datum *values, bool *nulls);
extern void millrace_graph_fill_cycle(int step_count, const GraphNeighbours *dependents, const int32 *place_of,
									  Datum *values, bool *nulls);
extern MillraceGraph millrace_graph_from_scratch(int step_count, const GraphNeighbours *by_ordinal,
												 const int32 *place_of, const int32 *number_of,
												 const int16 *rule, const float4 *expected, int path_bytes);

/* graph_query.c: a def_no of SQL, checked, as a step of C. */
extern int	millrace_graph_step(const MillraceGraph *graph, int32 def_no, const char *name);

/* And steps of C as an array of def_nos. */
extern Datum millrace_graph_def_nos(const int32 *steps, int count);

#endif							/* MILLRACE_GRAPH_H */
