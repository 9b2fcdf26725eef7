/* Nothing of poise, nothing of sockets. */
#include <stdio.h>

int main(void)
{
    puts("ok");
    return 0;
}
