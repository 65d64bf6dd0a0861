/* The entry point: adds every native function that the web globals need. */
#include "web.h"

int web_install(JSContext *ctx, JSValue native) {
    if (web_install_object(ctx, native) < 0 || web_install_text(ctx, native) < 0)
        return -1;
    if (web_install_form(ctx, native) < 0)
        return -1;
    return web_install_url(ctx, native);
}
