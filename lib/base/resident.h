/* Memory that a program keeps resident without using it. Any thread. */
#ifndef LIB_BASE_RESIDENT_H_
#define LIB_BASE_RESIDENT_H_

/*
 * Let go of what only the start has needed: freed heap, and the pages of programs' and libraries' read-only segments,
 * of which dozens of libraries have touched some while they were set up. What is still used comes back from the page
 * cache, without reading from disk as a rule, the next time it is touched. Meant for a program that has become idle.
 */
void resident_trim(void);

#endif
