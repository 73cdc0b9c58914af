/*
 * graph.h
 *		The graph of a version: who needs whom, and what follows from it.
 *
 * A graph is built once, when a version is defined, and written as one bytea
 * that is read in place: opening a graph only finds its arrays. In C a step is
 * counted from 0 (step = def_no - 1), and steps are numbered so that a need
 * has a lower number: one pass upwards sees needs first, one pass downwards
 * dependents first. SQL sees def_nos, counted from 1.
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
	GraphNeighbours needs;
	GraphNeighbours dependents;
	bool		has_paths;		/* else the bitmaps were too large, and a sweep answers */
	GraphPaths	ancestors;
	GraphPaths	descendants;
} MillraceGraph;

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
extern int32 *millrace_graph_find_cycle(int step_count, const GraphNeighbours *dependents,
										const int32 *number_of, int *length);
extern void millrace_graph_renumber(int step_count, const GraphNeighbours *dependents,
									const int32 *number_of, GraphNeighbours *needs);
extern void millrace_graph_invert(int step_count, const GraphNeighbours *needs, GraphNeighbours *dependents);

/* graph_reduce.c */
extern void millrace_graph_reduce(int step_count, const int16 *rule, GraphNeighbours *needs);

/* graph_paths.c */
extern bool millrace_graph_build_paths(int step_count, const GraphNeighbours *towards, bool upwards,
									   Size *bytes_left, GraphPaths *paths);
extern int32 *millrace_graph_list_path(const GraphPaths *paths, int step, int *count);
extern bool millrace_graph_path_contains(const GraphPaths *paths, int step, int other);

/* graph_rank.c */
extern void millrace_graph_level(int step_count, const GraphNeighbours *needs, int32 *level);
extern double *millrace_graph_rank(const MillraceGraph *graph, const float4 *seconds);

/* graph_query.c: a def_no of SQL, checked, as a step of C. */
extern int	millrace_graph_step(const MillraceGraph *graph, int32 def_no, const char *name);

/* And steps of C as an array of def_nos. */
extern Datum millrace_graph_def_nos(const int32 *steps, int count);

#endif							/* MILLRACE_GRAPH_H */
