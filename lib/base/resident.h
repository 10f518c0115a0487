/* Memory that a program keeps resident without using it. Any thread. */
#ifndef LIB_BASE_RESIDENT_H_
#define LIB_BASE_RESIDENT_H_

/*
 * Let go of what only the start has needed: freed heap, and the pages of programs' and libraries'
 * read-only segments, of which dozens of libraries have touched some while they were set up. Memory
 * that is still used comes back from the page cache, without reading from disk as a rule, the next
 * time it is touched. Meant for a program that has become idle.
 */
void resident_trim(void);

/*
 * From now on give large blocks back to the system as soon as they are freed, and share few heaps. The C library keeps
 * them by default, which is faster and may double what a program holds. Call it before other threads begin.
 */
void resident_save(void);

#endif
