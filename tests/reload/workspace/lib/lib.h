#define LIMIT 64
