/* The common part of Sereal, in C: optional, built by setup.py.
 *
 * The plain Python code is the reference. This code knows what most documents are made of; whatever
 * else it meets (objects other than booleans, scalar references, aliases, malformed bytes, a limit
 * crossed, a shared container to write) it gives up and answers NotImplemented, and the Python code
 * does the whole document from its start. So there is one place that decides what is an error, and
 * this file decides nothing but speed.
 *
 * Memory is safe by construction:
 *  - Nobody's code runs while a value is read or written. The garbage collector would run some when a list or dict is
 *    made (in Python 3.11), so it is off meanwhile: a list with empty places is seen by nobody. The GIL is kept; the module
 *    does not declare that it runs without (setup.py builds none for a free-threaded Python).
 *  - An object is owned for as long as a later step may use it all the same: what references name, keys, containers.
 *  - A container that is written is counted again at its end: if it changed meanwhile, the Python code starts over.
 * tests/fuzz/sanitized.py holds this against AddressSanitizer.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define TEXT(name) #name
#define EXPANDED(name) TEXT(name)
#define VERSION EXPANDED(JOBWIRE_VERSION) /* of the package; jobwire.fast leaves alone what is of another */

/* Deeper documents go to the Python code, which needs no C stack; a level takes about 200 bytes of it here. */
#define DEEPEST 512
#define KEY_SLOTS 64
#define COPY_SLOTS 64

enum { AUTO, EXACT, LATIN_1, UTF_8, BYTES };
enum {
    VARINT = 0x20, ZIGZAG, FLOAT, DOUBLE, UNDEF = 0x25, BINARY, STR_UTF8, REFN, REFP, HASH, ARRAY, OBJECT, OBJECTV,
    COPY = 0x2f, NO = 0x34, YES, CANONICAL_UNDEF = 0x39, FALSE_, TRUE_, PAD = 0x3f,
    ARRAYREF = 0x40, HASHREF = 0x50, SHORT_BINARY = 0x60, TRACK = 0x80,
};
static const char BOOLEAN_CLASS[] = "JSON::PP::Boolean";
#define BOOLEAN_LENGTH 17

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct {
    Py_ssize_t at;
    PyObject *value; /* owned: what is being built may let go of it */
} Place;

typedef struct {
    const unsigned char *data;
    Py_ssize_t pos, start, size, base;
    Py_ssize_t room;     /* items that may still come */
    Py_ssize_t unfolded; /* bytes that may still be read again through COPY */
    int depth, policy;
    Place *tracked; /* in the order of `at`, as they are met */
    Py_ssize_t tracked_count, tracked_size;
    Py_ssize_t classes[4]; /* where the name of the boolean class stood */
    int class_count;
    PyObject *keys[KEY_SLOTS];
    struct { Py_ssize_t at; PyObject *value; } copies[COPY_SLOTS];
} Reader;

static PyObject *read_value(Reader *r);

/* Every function below answers NULL (or -1) both for "give up" and for a Python error (no memory);
 * the caller at the top tells the two apart by PyErr_Occurred(). */

static int
read_varint(Reader *r, uint64_t *value)
{
    uint64_t result = 0;
    int shift = 0;
    while (r->pos < r->size) {
        unsigned char byte = r->data[r->pos++];
        if (shift == 63 && byte > 1)
            return -1;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return 0;
        }
        shift += 7;
        if (shift > 63)
            return -1;
    }
    return -1;
}

/* The index of an item before `at`. */
static Py_ssize_t
read_offset(Reader *r, Py_ssize_t at)
{
    uint64_t offset;
    if (read_varint(r, &offset) < 0 || offset > (uint64_t)PY_SSIZE_T_MAX / 2)
        return -1;
    Py_ssize_t target = (Py_ssize_t)offset + r->base;
    return target >= r->start && target < at ? target : -1;
}

static int
is_ascii(const unsigned char *text, Py_ssize_t length)
{
    Py_ssize_t i = 0;
    for (; i + 32 <= length; i += 32) {
        uint64_t part[4];
        memcpy(part, text + i, 32);
        if ((part[0] | part[1] | part[2] | part[3]) & 0x8080808080808080ULL)
            return 0;
    }
    for (; i + 8 <= length; i += 8) {
        uint64_t eight;
        memcpy(&eight, text + i, 8);
        if (eight & 0x8080808080808080ULL)
            return 0;
    }
    for (; i < length; i++)
        if (text[i] & 0x80)
            return 0;
    return 1;
}

static PyObject *
ascii_text(const unsigned char *text, Py_ssize_t length)
{
    PyObject *made = PyUnicode_New(length, 127);
    if (made && length)
        memcpy(PyUnicode_1BYTE_DATA(made), text, (size_t)length);
    return made;
}

static PyObject *
utf8_text(const unsigned char *text, Py_ssize_t length)
{
    PyObject *made = PyUnicode_DecodeUTF8((const char *)text, length, NULL);
    if (!made && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        PyErr_Clear();
    return made;
}

static PyObject *
make_binary(Reader *r, const unsigned char *text, Py_ssize_t length)
{
    PyObject *made;
    if (r->policy == BYTES)
        return PyBytes_FromStringAndSize((const char *)text, length);
    if (is_ascii(text, length))
        return ascii_text(text, length);
    switch (r->policy) {
        case LATIN_1:
            return PyUnicode_DecodeLatin1((const char *)text, length, NULL);
        case AUTO:
            made = utf8_text(text, length);
            if (made || PyErr_Occurred())
                return made;
            return PyBytes_FromStringAndSize((const char *)text, length);
        case EXACT:
            return PyBytes_FromStringAndSize((const char *)text, length);
        default:
            return utf8_text(text, length);
    }
}

/* The string behind `tag` (a string's tag), whose length or bytes come next. */
static PyObject *
read_string(Reader *r, int tag, int is_key)
{
    Py_ssize_t length;
    if (tag >= SHORT_BINARY) {
        length = tag - SHORT_BINARY;
    }
    else {
        uint64_t announced;
        if (read_varint(r, &announced) < 0 || announced > (uint64_t)(r->size - r->pos))
            return NULL;
        length = (Py_ssize_t)announced;
    }
    if (length > r->size - r->pos)
        return NULL;
    const unsigned char *text = r->data + r->pos;
    r->pos += length;
    if (tag == STR_UTF8)
        return utf8_text(text, length);
    if (!is_key || length == 0 || length > 31 || r->policy == BYTES || !is_ascii(text, length))
        return make_binary(r, text, length);
    PyObject **slot = &r->keys[(text[0] * 31 + text[length - 1] * 7 + length) % KEY_SLOTS];
    if (*slot && PyUnicode_GET_LENGTH(*slot) == length
        && memcmp(PyUnicode_1BYTE_DATA(*slot), text, (size_t)length) == 0)
        return Py_NewRef(*slot);
    PyObject *made = ascii_text(text, length);
    if (made)
        Py_XSETREF(*slot, Py_NewRef(made));
    return made;
}

static int
is_string(int tag)
{
    return tag >= SHORT_BINARY || tag == BINARY || tag == STR_UTF8;
}

/* COPY of a string; anything else is left to the Python code. */
static PyObject *
read_copy(Reader *r, int is_key)
{
    Py_ssize_t at = r->pos - 1, target = read_offset(r, at);
    if (target < 0)
        return NULL;
    int slot = (int)(target % COPY_SLOTS);
    if (r->copies[slot].value && r->copies[slot].at == target)
        return Py_NewRef(r->copies[slot].value);
    int tag = r->data[target] & 0x7f;
    if (!is_string(tag))
        return NULL;
    Py_ssize_t back = r->pos;
    r->pos = target + 1;
    PyObject *made = read_string(r, tag, is_key);
    if (!made)
        return NULL;
    r->unfolded -= r->pos - target;
    if (r->pos > at || r->unfolded < 0) {
        Py_DECREF(made);
        return NULL;
    }
    r->pos = back;
    r->copies[slot].at = target;
    Py_XSETREF(r->copies[slot].value, Py_NewRef(made));
    return made;
}

static int
track(Reader *r, Py_ssize_t at, PyObject *value)
{
    if (r->tracked_count == r->tracked_size) {
        Py_ssize_t size = r->tracked_size ? 2 * r->tracked_size : 16;
        Place *grown = PyMem_Realloc(r->tracked, (size_t)size * sizeof(Place));
        if (!grown) {
            PyErr_NoMemory();
            return -1;
        }
        r->tracked = grown;
        r->tracked_size = size;
    }
    r->tracked[r->tracked_count++] = (Place){at, Py_NewRef(value)};
    return 0;
}

static PyObject *
read_refp(Reader *r)
{
    Py_ssize_t target = read_offset(r, r->pos - 1);
    Py_ssize_t low = 0, high = r->tracked_count;
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (r->tracked[middle].at < target)
            low = middle + 1;
        else
            high = middle;
    }
    if (target < 0 || low == r->tracked_count || r->tracked[low].at != target)
        return NULL;
    return Py_NewRef(r->tracked[low].value);
}

static int
take(Reader *r, uint64_t count, int each)
{
    uint64_t left = (uint64_t)(r->size - r->pos);
    if (count > left || count * (unsigned)each > left)
        return -1;
    r->room -= (Py_ssize_t)count * each;
    return r->room < 0 ? -1 : 0;
}

static PyObject *
read_array(Reader *r, uint64_t count, Py_ssize_t at)
{
    if (take(r, count, 1) < 0)
        return NULL;
    PyObject *list = PyList_New((Py_ssize_t)count);
    if (!list)
        return NULL;
    if (at >= 0 && track(r, at, list) < 0)
        goto fail;
    for (Py_ssize_t i = 0; i < (Py_ssize_t)count; i++) {
        PyObject *item = read_value(r);
        if (!item)
            goto fail;
        PyList_SET_ITEM(list, i, item);
    }
    return list;
fail:
    Py_DECREF(list);
    return NULL;
}

static PyObject *
read_key(Reader *r)
{
    if (r->pos >= r->size)
        return NULL;
    int tag = r->data[r->pos++] & 0x7f;
    if (tag == COPY)
        return read_copy(r, 1);
    return is_string(tag) ? read_string(r, tag, 1) : NULL;
}

static PyObject *
read_hash(Reader *r, uint64_t count, Py_ssize_t at)
{
    if (take(r, count, 2) < 0)
        return NULL;
    PyObject *dict = PyDict_New();
    if (!dict)
        return NULL;
    if (at >= 0 && track(r, at, dict) < 0)
        goto fail;
    for (uint64_t i = 0; i < count; i++) {
        PyObject *key = read_key(r);
        if (!key)
            goto fail;
        PyObject *value = read_value(r);
        int failed = !value || PyDict_SetItem(dict, key, value) < 0;
        Py_DECREF(key);
        Py_XDECREF(value);
        if (failed || PyDict_GET_SIZE(dict) != (Py_ssize_t)i + 1) /* a key stands twice: the Python code says so */
            goto fail;
    }
    return dict;
fail:
    Py_DECREF(dict);
    return NULL;
}

/* REFN and what it refers to: a hash or an array, here. */
static PyObject *
read_refn(Reader *r)
{
    if (r->pos >= r->size)
        return NULL;
    Py_ssize_t at = r->pos++;
    int tag = r->data[at];
    uint64_t count;
    if (((tag & 0x7f) != HASH && (tag & 0x7f) != ARRAY) || read_varint(r, &count) < 0)
        return NULL;
    Py_ssize_t place = tag & TRACK ? at : -1;
    return (tag & 0x7f) == HASH ? read_hash(r, count, place) : read_array(r, count, place);
}

/* Behind a class name: JSON's booleans are references to 0 and 1. */
static PyObject *
read_boolean(Reader *r)
{
    if (r->size - r->pos < 2 || r->data[r->pos] != REFN)
        return NULL;
    Py_ssize_t at = r->pos + 1;
    int tag = r->data[at];
    if ((tag & 0x7f) > 1)
        return NULL;
    r->pos += 2;
    PyObject *value = tag & 1 ? Py_True : Py_False;
    if (tag & TRACK && track(r, at, value) < 0)
        return NULL;
    return Py_NewRef(value);
}

static PyObject *
read_object(Reader *r)
{
    Py_ssize_t at = r->pos;
    if (r->size - at < BOOLEAN_LENGTH + 1 || r->data[at] != SHORT_BINARY + BOOLEAN_LENGTH
        || memcmp(r->data + at + 1, BOOLEAN_CLASS, BOOLEAN_LENGTH) != 0 || r->policy == BYTES || r->class_count == 4)
        return NULL;
    r->classes[r->class_count++] = at;
    r->pos = at + 1 + BOOLEAN_LENGTH;
    return read_boolean(r);
}

static PyObject *
read_objectv(Reader *r)
{
    Py_ssize_t target = read_offset(r, r->pos - 1);
    for (int i = 0; i < r->class_count; i++)
        if (r->classes[i] == target)
            return read_boolean(r);
    return NULL;
}

static PyObject *
read_tagged(Reader *r, int tag)
{
    uint64_t number;
    switch (tag) {
        case VARINT:
            return read_varint(r, &number) < 0 ? NULL : PyLong_FromUnsignedLongLong(number);
        case ZIGZAG:
            if (read_varint(r, &number) < 0)
                return NULL;
            return PyLong_FromLongLong((int64_t)(number >> 1) ^ -(int64_t)(number & 1));
        case FLOAT:
        case DOUBLE: {
            int size = tag == FLOAT ? 4 : 8;
            if (r->size - r->pos < size)
                return NULL;
            const char *from = (const char *)r->data + r->pos;
            double value = size == 4 ? PyFloat_Unpack4(from, 1) : PyFloat_Unpack8(from, 1);
            if (value == -1.0 && PyErr_Occurred())
                return NULL;
            r->pos += size;
            return PyFloat_FromDouble(value);
        }
        case UNDEF:
        case CANONICAL_UNDEF:
            Py_RETURN_NONE;
        case TRUE_:
        case YES:
            Py_RETURN_TRUE;
        case FALSE_:
        case NO:
            Py_RETURN_FALSE;
        case BINARY:
        case STR_UTF8:
            return read_string(r, tag, 0);
        case COPY:
            return read_copy(r, 0);
        case REFP:
            return read_refp(r);
        case OBJECT:
            return read_object(r);
        case OBJECTV:
            return read_objectv(r);
        default:
            return NULL;
    }
}

static PyObject *
read_value(Reader *r)
{
    if (r->pos >= r->size)
        return NULL;
    int tag = r->data[r->pos++];
    if (tag < 0x20)
        return PyLong_FromLong(tag < 16 ? tag : tag - 32);
    if (tag >= TRACK)
        return NULL;
    if (tag >= SHORT_BINARY)
        return read_string(r, tag, 0);
    if (tag < ARRAYREF && tag != REFN)
        return read_tagged(r, tag);
    if (r->depth == 0)
        return NULL;
    r->depth--;
    PyObject *value = tag == REFN ? read_refn(r)
        : tag < HASHREF           ? read_array(r, (uint64_t)(tag - ARRAYREF), -1)
                                  : read_hash(r, (uint64_t)(tag - HASHREF), -1);
    r->depth++;
    return value;
}

/* A whole number of any size; one beyond the machine's is its largest or smallest. */
static int
whole_number(PyObject *number, Py_ssize_t *into)
{
    *into = PyNumber_AsSsize_t(number, NULL);
    return *into == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
levels(Py_ssize_t depth)
{
    return depth < 0 ? 0 : depth < DEEPEST ? (int)depth : DEEPEST;
}

static void
forget(Reader *r)
{
    for (int i = 0; i < KEY_SLOTS; i++)
        Py_XDECREF(r->keys[i]);
    for (int i = 0; i < COPY_SLOTS; i++)
        Py_XDECREF(r->copies[i].value);
    for (Py_ssize_t i = 0; i < r->tracked_count; i++)
        Py_DECREF(r->tracked[i].value);
    PyMem_Free(r->tracked);
}

static PyObject *
decode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Reader r;
    Py_ssize_t depth, policy;
    memset(&r, 0, sizeof r);
    if (count != 6 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "decode takes six arguments, the first of them bytes");
        return NULL;
    }
    if (whole_number(args[1], &r.start) < 0 || whole_number(args[2], &r.base) < 0 || whole_number(args[3], &policy) < 0
        || whole_number(args[4], &depth) < 0 || whole_number(args[5], &r.room) < 0)
        return NULL;
    PyObject *data = args[0];
    r.data = (const unsigned char *)PyBytes_AS_STRING(data);
    r.size = PyBytes_GET_SIZE(data);
    if (r.start < 0 || r.start > r.size || r.base < -r.size || r.base > r.size || policy < AUTO || policy > BYTES)
        Py_RETURN_NOTIMPLEMENTED;
    r.policy = (int)policy;
    r.pos = r.start;
    r.depth = levels(depth);
    r.unfolded = r.size + (1 << 16);
    int collecting = PyGC_Disable();
    PyObject *value = read_value(&r);
    forget(&r);
    if (collecting)
        PyGC_Enable();
    if (!value) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject *stop = PyLong_FromSsize_t(r.pos);
    PyObject *both = stop ? PyTuple_Pack(2, value, stop) : NULL;
    Py_DECREF(value);
    Py_XDECREF(stop);
    return both;
}

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct {
    PyObject *key; /* owned */
    Py_ssize_t place;
} Slot;

typedef struct {
    unsigned char *out;
    Py_ssize_t used, size, base;
    int depth, share_keys, true_tag, false_tag;
    Slot *keys; /* open addressing: hash keys written, and where */
    Py_ssize_t key_count, key_size;
    PyObject **met; /* open addressing: containers that could be met again; owned, so that no address comes twice */
    Py_ssize_t met_count, met_size;
} Writer;

static int write_value(Writer *w, PyObject *value);

static int
grow(Writer *w, Py_ssize_t more)
{
    if (more > PY_SSIZE_T_MAX / 4 || w->size > PY_SSIZE_T_MAX / 4) {
        PyErr_NoMemory();
        return -1;
    }
    Py_ssize_t size = 2 * w->size + more;
    unsigned char *grown = PyMem_Realloc(w->out, (size_t)size);
    if (!grown) {
        PyErr_NoMemory();
        return -1;
    }
    w->out = grown;
    w->size = size;
    return 0;
}

static inline int
reserve(Writer *w, Py_ssize_t more)
{
    return w->size - w->used >= more ? 0 : grow(w, more);
}

static int
write_number(Writer *w, int tag, uint64_t value)
{
    if (reserve(w, 11) < 0)
        return -1;
    w->out[w->used++] = (unsigned char)tag;
    while (value > 0x7f) {
        w->out[w->used++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    w->out[w->used++] = (unsigned char)value;
    return 0;
}

static int
write_tag(Writer *w, int tag)
{
    if (reserve(w, 1) < 0)
        return -1;
    w->out[w->used++] = (unsigned char)tag;
    return 0;
}

static int
write_raw(Writer *w, const void *from, Py_ssize_t length)
{
    if (reserve(w, length) < 0)
        return -1;
    memcpy(w->out + w->used, from, (size_t)length);
    w->used += length;
    return 0;
}

static int
write_binary(Writer *w, const void *from, Py_ssize_t length)
{
    if (length > 31)
        return write_number(w, BINARY, (uint64_t)length) < 0 ? -1 : write_raw(w, from, length);
    if (reserve(w, 32) < 0)
        return -1;
    w->out[w->used++] = (unsigned char)(SHORT_BINARY + length);
    memcpy(w->out + w->used, from, (size_t)length);
    w->used += length;
    return 0;
}

static int
write_text(Writer *w, PyObject *text)
{
    if (PyUnicode_IS_ASCII(text))
        return write_binary(w, PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    PyObject *utf8 = PyUnicode_AsUTF8String(text);
    if (!utf8) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            PyErr_Clear(); /* lone surrogates */
        return -1;
    }
    Py_ssize_t length = PyBytes_GET_SIZE(utf8);
    int failed = write_number(w, STR_UTF8, (uint64_t)length) < 0 || write_raw(w, PyBytes_AS_STRING(utf8), length) < 0;
    Py_DECREF(utf8);
    return failed ? -1 : 0;
}

static int
write_integer(Writer *w, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow < 0)
        return -1;
    if (overflow > 0) {
        unsigned long long large = PyLong_AsUnsignedLongLong(value);
        if (large == (unsigned long long)-1 && PyErr_Occurred()) {
            if (PyErr_ExceptionMatches(PyExc_OverflowError))
                PyErr_Clear();
            return -1;
        }
        return write_number(w, VARINT, large);
    }
    if (number >= 0)
        return number <= 15 ? write_tag(w, (int)number) : write_number(w, VARINT, (uint64_t)number);
    if (number >= -16)
        return write_tag(w, (int)number + 32);
    return write_number(w, ZIGZAG, ((uint64_t)(-(number + 1)) << 1) | 1);
}

static int
write_float(Writer *w, double value)
{
    if (reserve(w, 9) < 0)
        return -1;
    /* Only in the range of a float: what is beyond it is undefined in C. */
    int fits = (value >= -3.4028234663852886e38 && value <= 3.4028234663852886e38) || value - value != 0;
    char *to = (char *)w->out + w->used + 1;
    if (fits && (double)(float)value == value) {
        w->out[w->used] = FLOAT;
        if (PyFloat_Pack4(value, to, 1) < 0)
            return -1;
        w->used += 5;
    }
    else {
        w->out[w->used] = DOUBLE;
        if (PyFloat_Pack8(value, to, 1) < 0)
            return -1;
        w->used += 9;
    }
    return 0;
}

static size_t
text_hash(PyObject *text)
{
    Py_hash_t known = ((PyASCIIObject *)text)->hash;
    return (size_t)(known != -1 ? known : PyObject_Hash(text));
}

static int
grow_keys(Writer *w)
{
    Py_ssize_t size = w->key_size ? 2 * w->key_size : 64;
    Slot *slots = PyMem_Calloc((size_t)size, sizeof(Slot));
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < w->key_size; i++) {
        if (!w->keys[i].key)
            continue;
        size_t at = text_hash(w->keys[i].key) & (size_t)(size - 1);
        while (slots[at].key)
            at = (at + 1) & (size_t)(size - 1);
        slots[at] = w->keys[i];
    }
    PyMem_Free(w->keys);
    w->keys = slots;
    w->key_size = size;
    return 0;
}

static int
same_text(PyObject *a, PyObject *b)
{
    return a == b
        || (PyUnicode_GET_LENGTH(a) == PyUnicode_GET_LENGTH(b) && PyUnicode_KIND(a) == PyUnicode_KIND(b)
            && memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), (size_t)(PyUnicode_GET_LENGTH(a) * PyUnicode_KIND(a))) == 0);
}

/* A hash key, or COPY of the place where it stands already. */
static int
write_key(Writer *w, PyObject *key)
{
    if (!PyUnicode_CheckExact(key))
        return -1;
    if (!w->share_keys)
        return write_text(w, key);
    if (2 * w->key_count >= w->key_size && grow_keys(w) < 0)
        return -1;
    size_t mask = (size_t)(w->key_size - 1), at = text_hash(key) & mask;
    for (; w->keys[at].key; at = (at + 1) & mask)
        if (same_text(w->keys[at].key, key))
            return write_number(w, COPY, (uint64_t)(w->keys[at].place + w->base));
    w->keys[at] = (Slot){Py_NewRef(key), w->used};
    w->key_count++;
    return write_text(w, key);
}

static size_t
pointer_hash(PyObject *value)
{
    size_t bits = (size_t)(uintptr_t)value;
    return (bits >> 4) * (size_t)0x9E3779B97F4A7C15ULL >> 8;
}

static int
grow_met(Writer *w)
{
    Py_ssize_t size = w->met_size ? 2 * w->met_size : 64;
    PyObject **slots = PyMem_Calloc((size_t)size, sizeof(PyObject *));
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < w->met_size; i++) {
        if (!w->met[i])
            continue;
        size_t at = pointer_hash(w->met[i]) & (size_t)(size - 1);
        while (slots[at])
            at = (at + 1) & (size_t)(size - 1);
        slots[at] = w->met[i];
    }
    PyMem_Free(w->met);
    w->met = slots;
    w->met_size = size;
    return 0;
}

/* Give up (-1) where the container was met before: the Python code then writes references.
 * A container with two references, its parent's and ours, cannot be met twice. */
static int
note_container(Writer *w, PyObject *value)
{
    if (Py_REFCNT(value) <= 2)
        return 0;
    if (2 * w->met_count >= w->met_size && grow_met(w) < 0)
        return -1;
    size_t mask = (size_t)(w->met_size - 1), at = pointer_hash(value) & mask;
    for (; w->met[at]; at = (at + 1) & mask)
        if (w->met[at] == value)
            return -1;
    w->met[at] = Py_NewRef(value);
    w->met_count++;
    return 0;
}

static inline int
open_container(Writer *w, PyObject *value, Py_ssize_t count, int small, int large)
{
    if (w->depth-- <= 0 || note_container(w, value) < 0)
        return -1;
    if (count <= 15)
        return write_tag(w, small + (int)count);
    return write_tag(w, REFN) < 0 ? -1 : write_number(w, large, (uint64_t)count);
}

static inline int
write_list(Writer *w, PyObject *list)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (open_container(w, list, count, ARRAYREF, ARRAY) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count && i < PyList_GET_SIZE(list); i++)
        if (write_value(w, PyList_GET_ITEM(list, i)) < 0)
            return -1;
    return count == PyList_GET_SIZE(list) ? 0 : -1;
}

static int
write_tuple(Writer *w, PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    if (open_container(w, tuple, count, ARRAYREF, ARRAY) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++)
        if (write_value(w, PyTuple_GET_ITEM(tuple, i)) < 0)
            return -1;
    return 0;
}

static int
write_dict(Writer *w, PyObject *dict)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, count = PyDict_GET_SIZE(dict), written = 0;
    if (open_container(w, dict, count, HASHREF, HASH) < 0)
        return -1;
    for (; PyDict_Next(dict, &at, &key, &value); written++) {
        Py_INCREF(value); /* the key may be let go of before the value is written */
        int failed = written == count || write_key(w, key) < 0 || write_value(w, value) < 0;
        Py_DECREF(value);
        if (failed)
            return -1;
    }
    return written == count ? 0 : -1;
}

/* A container is owned for as long as its items are written. */
static inline int
write_container(Writer *w, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    Py_INCREF(value);
    int failed = type == &PyDict_Type ? write_dict(w, value)
        : type == &PyList_Type        ? write_list(w, value)
                                      : write_tuple(w, value);
    Py_DECREF(value);
    w->depth++;
    return failed;
}

static int
write_value(Writer *w, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type)
        return write_text(w, value);
    if (type == &PyLong_Type)
        return write_integer(w, value);
    if (type == &PyDict_Type || type == &PyList_Type)
        return write_container(w, value);
    if (value == Py_None)
        return write_tag(w, UNDEF);
    if (type == &PyBool_Type)
        return write_tag(w, value == Py_True ? w->true_tag : w->false_tag);
    if (type == &PyFloat_Type)
        return write_float(w, PyFloat_AS_DOUBLE(value));
    if (type == &PyBytes_Type)
        return write_binary(w, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    if (type == &PyTuple_Type && PyTuple_GET_SIZE(value))
        return write_container(w, value);
    return -1;
}

static PyObject *
encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Writer w;
    Py_ssize_t depth, true_tag, false_tag;
    memset(&w, 0, sizeof w);
    if (count != 7 || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "encode takes seven arguments, the second of them bytes");
        return NULL;
    }
    if (whole_number(args[2], &w.base) < 0 || (w.share_keys = PyObject_IsTrue(args[3])) < 0
        || whole_number(args[4], &true_tag) < 0 || whole_number(args[5], &false_tag) < 0
        || whole_number(args[6], &depth) < 0)
        return NULL;
    PyObject *value = args[0], *head = args[1];
    w.true_tag = (int)true_tag;
    w.false_tag = (int)false_tag;
    w.depth = levels(depth);
    /* Offsets count from the body, which stands behind `head`. */
    w.base -= PyBytes_GET_SIZE(head);
    int collecting = PyGC_Disable();
    int failed = depth < 0 || reserve(&w, 256) < 0
        || write_raw(&w, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head)) < 0 || write_value(&w, value) < 0;
    PyObject *document = failed ? NULL : PyBytes_FromStringAndSize((char *)w.out, w.used);
    for (Py_ssize_t i = 0; i < w.key_size; i++)
        Py_XDECREF(w.keys[i].key);
    for (Py_ssize_t i = 0; i < w.met_size; i++)
        Py_XDECREF(w.met[i]);
    PyMem_Free(w.out);
    PyMem_Free(w.keys);
    PyMem_Free(w.met);
    if (collecting)
        PyGC_Enable();
    if (document || PyErr_Occurred())
        return document;
    Py_RETURN_NOTIMPLEMENTED;
}

static PyMethodDef methods[] = {
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL, "decode(data, start, base, policy, max_depth, max_items) -> (value, stop)"},
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, "encode(value, head, base, share_keys, true, false, max_depth) -> document"},
    {NULL, NULL, 0, NULL},
};

static int
fill(PyObject *module)
{
    return PyModule_AddStringConstant(module, "version", VERSION);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_speedups",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
