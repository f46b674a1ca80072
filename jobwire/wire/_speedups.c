/* What every job passes, in C: optional, built by setup.py.
 *
 * The plain Python code is the reference. This code knows what most jobs are made of (parameters and results that are
 * text, bytes, whole numbers, and how to measure nested ones); whatever else it meets (other types, names never seen
 * before, text that cannot be encoded, a limit crossed) it gives up and answers None, and the Python code does the
 * whole thing from its start. So there is one place that decides what is an error, and this file decides nothing but speed.
 *
 * Memory is safe by construction, not because nothing happens: an allocation may run the garbage collector, which runs
 * anybody's code, as do the functions that are called here. So an object is owned for as long as a later step may use it,
 * and a tuple is made when all that belongs into it is there: nobody sees one with empty places. tests/fuzz/sanitized.py holds this
 * against AddressSanitizer. The module does not declare that it runs without the GIL (setup.py builds none for a
 * free-threaded Python).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <string.h>

#define TEXT(name) #name
#define EXPANDED(name) TEXT(name)
#define VERSION EXPANDED(JOBWIRE_VERSION) /* of the package; jobwire.fast leaves alone what is of another */

#define LONGEST_NUMBER 32
#define LONGEST_TEXT (1 << 20) /* what is longer is measured by the Python code, against the limits */

static int
is_name(PyObject *field, const char *name, Py_ssize_t length)
{
    return PyBytes_GET_SIZE(field) == length && memcmp(PyBytes_AS_STRING(field), name, length) == 0;
}
#define IS(field, name) is_name(field, name, sizeof(name) - 1)

/* A whole number of any size; one beyond the machine's is its largest or smallest. */
static int
whole_number(PyObject *number, Py_ssize_t *into)
{
    *into = PyNumber_AsSsize_t(number, NULL);
    return *into == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The words of a command that is not made yet, owned. */
#define MOST_WORDS 1024
typedef struct {
    Py_ssize_t count;
    PyObject *word[MOST_WORDS];
} Words;

static void
drop(Words *words)
{
    while (words->count > 0)
        Py_DECREF(words->word[--words->count]);
}

/* Takes the word over. */
static int
put(Words *words, PyObject *word)
{
    if (word == NULL)
        return -1;
    words->word[words->count++] = word;
    return 0;
}

static PyObject *
command_of(Words *words)
{
    PyObject *command = PyTuple_New(words->count);
    if (command == NULL) {
        drop(words);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < words->count; i++)
        PyTuple_SET_ITEM(command, i, words->word[i]);
    words->count = 0;
    return command;
}

/* ---- values -------------------------------------------------------------------------------- */

/* The digits of a number, at the end of `digits`; where they begin. snprintf takes longer than all the rest. */
static char *
spelled(long long number, char *end)
{
    unsigned long long left = number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;
    char *at = end;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        *--at = '-';
    return at;
}

/* `tag` (0: none) and the printed form of a scalar. NULL without an error set: not one for this code. */
static PyObject *
printed(PyObject *value, char tag)
{
    PyObject *encoded = NULL;
    const char *text;
    char digits[LONGEST_NUMBER];
    Py_ssize_t length;

    if (PyUnicode_CheckExact(value) && PyUnicode_IS_ASCII(value)) {
        text = (const char *)PyUnicode_DATA(value);
        length = PyUnicode_GET_LENGTH(value);
    } else if (PyUnicode_CheckExact(value) || PyBytes_CheckExact(value)) {
        encoded = PyBytes_CheckExact(value) ? Py_NewRef(value) : PyUnicode_AsUTF8String(value);
        if (encoded == NULL) {
            if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
                PyErr_Clear(); /* a lone surrogate */
            return NULL;
        }
        if (tag == 0 && PyBytes_GET_SIZE(encoded) <= LONGEST_TEXT)
            return encoded;
        text = PyBytes_AS_STRING(encoded);
        length = PyBytes_GET_SIZE(encoded);
    } else if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow)
            return NULL;
        text = spelled(number, digits + LONGEST_NUMBER);
        length = digits + LONGEST_NUMBER - text;
    } else {
        return NULL;
    }
    if (length > LONGEST_TEXT) {
        Py_XDECREF(encoded);
        return NULL;
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, length + (tag != 0));
    if (made != NULL) {
        char *out = PyBytes_AS_STRING(made);
        if (tag != 0)
            *out++ = tag;
        memcpy(out, text, length);
    }
    Py_XDECREF(encoded);
    return made;
}

/* Epoch seconds with 15 significant digits: for our times ten before the point and five behind it. */
static PyObject *
epoch(double seconds)
{
    if (seconds >= 1e9 && seconds < 8e9) {
        char digits[16];
        double whole = floor(seconds);
        /* Exact: of 53 bits at least 29 are taken by the whole seconds, and the factor has 17. */
        long long number = (long long)whole * 100000 + (long long)nearbyint((seconds - whole) * 100000.0);
        for (int i = 15; i >= 0; i--) {
            if (i == 10) {
                digits[i] = '.';
                continue;
            }
            digits[i] = (char)('0' + number % 10);
            number /= 10;
        }
        int length = 16;
        while (digits[length - 1] == '0')
            length--;
        return PyBytes_FromStringAndSize(digits, digits[length - 1] == '.' ? length - 1 : length);
    }
    char *text = PyOS_double_to_string(seconds, 'g', 15, 0, NULL);
    if (text == NULL)
        return NULL;
    PyObject *made = PyBytes_FromString(text);
    PyMem_Free(text);
    return made;
}

/* None, or NULL where there is an error that the Python code would not meet again. */
static PyObject *
give_up(PyObject *half_made)
{
    Py_XDECREF(half_made);
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return NULL;
        PyErr_Clear(); /* a name that the wire cannot say */
    }
    Py_RETURN_NONE;
}

/* ---- submitting ---------------------------------------------------------------------------- */

/* Characters of a name and its value that `encode_meta`, which keeps them, may be asked. */
#define LONGEST_KEPT 256

/* What `encode_meta` answers, a pair; NULL, perhaps without an error, where it is none. */
static PyObject *
meta_pair(PyObject *encode_meta, PyObject *name, PyObject *value)
{
    if (!PyUnicode_CheckExact(name) || !PyUnicode_CheckExact(value) ||
        PyUnicode_GET_LENGTH(name) + PyUnicode_GET_LENGTH(value) > LONGEST_KEPT)
        return NULL;
    PyObject *words[] = {Py_NewRef(name), Py_NewRef(value)};
    PyObject *pair = PyObject_Vectorcall(encode_meta, words, 2, NULL);
    Py_DECREF(words[0]);
    Py_DECREF(words[1]);
    if (pair != NULL && (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2))
        Py_CLEAR(pair);
    return pair;
}

/* The text field of a parameter; -1, perhaps without an error, where it is not one for this code. */
static int
put_parameter(Words *words, PyObject *text_field, PyObject *name, PyObject *value)
{
    if (!PyUnicode_CheckExact(name))
        return -1;
    Py_INCREF(name);
    Py_INCREF(value);
    PyObject *field = PyObject_CallOneArg(text_field, name);
    PyObject *text = field == NULL ? NULL : printed(value, 0);
    Py_DECREF(name);
    Py_DECREF(value);
    if (text == NULL || !PyBytes_CheckExact(field)) {
        Py_XDECREF(field);
        Py_XDECREF(text);
        return -1;
    }
    return put(words, field) < 0 || put(words, text) < 0 ? -1 : 0;
}

PyDoc_STRVAR(hash_fields_doc,
"hash_fields(head, queued, meta, data, encode_meta, text_field, reserved) -> tuple | None\n\n"
"`head`, `_queued` and the moment, the meta fields, and all parameters as text fields: one command.");

static PyObject *
hash_fields(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 7 || !PyTuple_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "hash_fields takes seven arguments, the first of them a tuple");
        return NULL;
    }
    PyObject *head = args[0], *queued = args[1], *meta = args[2], *data = args[3];
    PyObject *encode_meta = args[4], *text_field = args[5], *reserved = args[6];
    if (!PyDict_CheckExact(meta) || !PyDict_CheckExact(data) || !PyFloat_CheckExact(queued))
        Py_RETURN_NONE;

    Py_ssize_t before = PyTuple_GET_SIZE(head);
    Py_ssize_t end = before + 2 + 2 * (PyDict_GET_SIZE(meta) + PyDict_GET_SIZE(data));
    if (end > MOST_WORDS)
        Py_RETURN_NONE;
    Words words;
    words.count = 0;
    for (Py_ssize_t i = 0; i < before; i++)
        put(&words, Py_NewRef(PyTuple_GET_ITEM(head, i)));
    if (put(&words, PyBytes_FromStringAndSize("_queued", 7)) < 0 || put(&words, epoch(PyFloat_AS_DOUBLE(queued))) < 0)
        goto fail;

    PyObject *name, *value;
    Py_ssize_t place = 0;
    /* What is called may be anybody's code in the end: the dicts are looked at again after each call. */
    while (PyDict_Next(meta, &place, &name, &value)) {
        PyObject *pair = words.count + 2 > end ? NULL : meta_pair(encode_meta, name, value);
        if (pair == NULL)
            goto fail;
        put(&words, Py_NewRef(PyTuple_GET_ITEM(pair, 0)));
        put(&words, Py_NewRef(PyTuple_GET_ITEM(pair, 1)));
        int known = PySet_Contains(reserved, PyTuple_GET_ITEM(pair, 0));
        Py_DECREF(pair);
        if (known != 1) /* a parameter may have that name */
            goto fail;
    }
    place = 0;
    while (PyDict_Next(data, &place, &name, &value))
        if (words.count + 2 > end || put_parameter(&words, text_field, name, value) < 0)
            goto fail;
    if (words.count == end)
        return command_of(&words);
fail:
    drop(&words);
    return give_up(NULL);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* The number in 1 to 15 digits with a point among them: a fraction of two numbers that a double holds, so exact as
   `strtod` is, in a tenth of the time. -1 for anything else. */
static double
plain_seconds(const char *text, Py_ssize_t length)
{
    static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    long long number = 0;
    Py_ssize_t point = -1;
    if (length < 3 || length > 16)
        return -1.0;
    for (Py_ssize_t i = 0; i < length; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            number = 10 * number + (text[i] - '0');
        else if (text[i] == '.' && point < 0 && i > 0 && i < length - 1)
            point = i;
        else
            return -1.0;
    }
    return point < 0 ? -1.0 : (double)number / tens[length - 1 - point];
}

/* A moment as `parse_epoch` reads it: None where there is none, or none that is a finite number. */
static PyObject *
moment(PyObject *raw)
{
    if (raw == NULL)
        Py_RETURN_NONE;
    double known = plain_seconds(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw));
    if (known >= 0.0)
        return PyFloat_FromDouble(known);
    PyObject *seconds = PyFloat_FromString(raw);
    if (seconds == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return NULL;
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    if (!isfinite(PyFloat_AS_DOUBLE(seconds))) {
        Py_DECREF(seconds);
        Py_RETURN_NONE;
    }
    return seconds;
}

/* The string policy `auto`. */
static PyObject *
readable(PyObject *raw)
{
    PyObject *text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw), NULL);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return Py_NewRef(raw);
    }
    return text;
}

/* What has been read of a job; everything in it is owned. */
typedef struct {
    PyObject *data, *meta, *reply_to, *queued, *started, *processed, *result;
} Fields;

static PyObject **
special(Fields *fields, PyObject *field)
{
    return IS(field, "_reply_to") ? &fields->reply_to
        : IS(field, "_queued")    ? &fields->queued
        : IS(field, "_started")   ? &fields->started
        : IS(field, "_processed") ? &fields->processed
        : IS(field, "result")     ? &fields->result
                                  : NULL;
}

/* -1, perhaps without an error, for a field that is not one for this code. */
static int
read_field(Fields *fields, PyObject *field, PyObject *value, PyObject *kind, PyObject *name, Py_ssize_t max_bytes)
{
    PyObject *into;
    if (PyUnicode_GET_LENGTH(kind) == 0) {
        PyObject **slot = special(fields, field);
        if (slot != NULL)
            Py_XSETREF(*slot, Py_NewRef(value));
        return 0;
    }
    if (PyUnicode_CompareWithASCIIString(kind, "text") == 0) {
        into = fields->data;
        if (PyBytes_GET_SIZE(value) > max_bytes)
            return -1;
    } else if (PyUnicode_CompareWithASCIIString(kind, "meta") == 0) {
        into = fields->meta;
    } else {
        return -1; /* nested */
    }
    Py_ssize_t size = PyDict_GET_SIZE(into);
    PyObject *text = readable(value);
    int failed = text == NULL || PyDict_SetItem(into, name, text) < 0;
    Py_XDECREF(text);
    /* The same parameter twice? */
    return failed || (PyDict_GET_SIZE(into) == size && into == fields->data) ? -1 : 0;
}

static int
read_planned(Fields *fields, PyObject *field, PyObject *value, PyObject *plans, Py_ssize_t max_bytes)
{
    if (!PyBytes_CheckExact(field) || !PyBytes_CheckExact(value))
        return -1;
    PyObject *plan = PyDict_GetItemWithError(plans, field); /* a field never met before: no plan yet */
    if (plan == NULL || !PyTuple_CheckExact(plan) || PyTuple_GET_SIZE(plan) != 2)
        return -1;
    PyObject *kind = PyTuple_GET_ITEM(plan, 0), *name = PyTuple_GET_ITEM(plan, 1);
    if (!PyUnicode_Check(kind))
        return -1;
    Py_INCREF(plan); /* and with it its parts */
    Py_INCREF(field);
    Py_INCREF(value);
    int failed = read_field(fields, field, value, kind, name, max_bytes);
    Py_DECREF(plan);
    Py_DECREF(field);
    Py_DECREF(value);
    return failed;
}

#define JOB_FIELDS 9

/* How jobs are read: the arguments of `jobs` that are the same for all. */
typedef struct {
    PyObject *make, *names, *dialect, *plans;
    Py_ssize_t max_fields, max_bytes;
    int needs_queued;
} Reading;

/* `make(id=…, data=…, …)`; NULL, perhaps without an error, where a part is none for this code. */
static PyObject *
made_job(Fields *fields, const Reading *how, PyObject *entry)
{
    PyObject *parts[JOB_FIELDS] = {NULL}, *job = NULL;
    if ((parts[0] = readable(entry)) != NULL && (parts[2] = readable(fields->reply_to)) != NULL &&
        (parts[3] = moment(fields->queued)) != NULL && (parts[4] = moment(fields->started)) != NULL &&
        (parts[5] = moment(fields->processed)) != NULL && !(how->needs_queued && parts[3] == Py_None)) {
        parts[1] = Py_NewRef(fields->data);
        parts[6] = Py_NewRef(fields->meta);
        parts[7] = Py_NewRef(fields->result == NULL ? Py_None : fields->result);
        parts[8] = Py_NewRef(how->dialect);
        job = PyObject_Vectorcall(how->make, parts, 0, how->names);
    }
    for (Py_ssize_t i = 0; i < JOB_FIELDS; i++)
        Py_XDECREF(parts[i]);
    return job;
}

static void
forget(Fields *fields)
{
    Py_XDECREF(fields->data);
    Py_XDECREF(fields->meta);
    Py_XDECREF(fields->reply_to);
    Py_XDECREF(fields->queued);
    Py_XDECREF(fields->started);
    Py_XDECREF(fields->processed);
    Py_XDECREF(fields->result);
}

/* NULL, perhaps without an error, where it is none for this code. */
static PyObject *
job_of(const Reading *how, PyObject *entry, PyObject *reply)
{
    if (!PyBytes_CheckExact(entry) || !PyList_CheckExact(reply) || PyList_GET_SIZE(reply) % 2 ||
        PyList_GET_SIZE(reply) / 2 > how->max_fields)
        return NULL;
    Fields fields = {PyDict_New(), PyDict_New(), NULL, NULL, NULL, NULL, NULL};
    int failed = fields.data == NULL || fields.meta == NULL;
    for (Py_ssize_t i = 0; !failed && i + 1 < PyList_GET_SIZE(reply); i += 2)
        failed = read_planned(&fields, PyList_GET_ITEM(reply, i), PyList_GET_ITEM(reply, i + 1), how->plans,
                              how->max_bytes) < 0;
    /* Without a client it is perhaps no job at all. */
    PyObject *job = failed || fields.reply_to == NULL ? NULL : made_job(&fields, how, entry);
    forget(&fields);
    return job;
}

PyDoc_STRVAR(jobs_doc,
"jobs(make, names, entries, dialect, replies, plans, max_fields, max_bytes, needs_queued) -> list | None\n\n"
"What HGETALL answered for each of the entries, where that is a job of text parameters by the string policy `auto`;\n"
"NotImplemented for any other. `make` takes, as `names` says: its ID, parameters, client, when it was queued, started,\n"
"processed, the meta fields, the result, the dialect. `needs_queued`: not without a moment at which it was queued.");

static PyObject *
jobs(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 9 || !PyTuple_CheckExact(args[1]) || PyTuple_GET_SIZE(args[1]) != JOB_FIELDS || !PyDict_Check(args[5])) {
        PyErr_SetString(PyExc_TypeError, "jobs takes nine arguments, nine names and a dict among them");
        return NULL;
    }
    Reading how = {.make = args[0], .names = args[1], .dialect = args[3], .plans = args[5]};
    how.needs_queued = args[8] == Py_True;
    if (whole_number(args[6], &how.max_fields) < 0 || whole_number(args[7], &how.max_bytes) < 0)
        return NULL;
    PyObject *entries = args[2], *replies = args[4];
    if (!PyList_CheckExact(entries) || !PyList_CheckExact(replies) ||
        PyList_GET_SIZE(entries) != PyList_GET_SIZE(replies))
        Py_RETURN_NONE;
    PyObject *made = PyList_New(0);
    /* What is called may be anybody's code in the end: the lists are looked at again after each call. */
    for (Py_ssize_t at = 0; made != NULL && at < PyList_GET_SIZE(entries) && at < PyList_GET_SIZE(replies); at++) {
        PyObject *entry = Py_NewRef(PyList_GET_ITEM(entries, at)), *reply = Py_NewRef(PyList_GET_ITEM(replies, at));
        PyObject *job = job_of(&how, entry, reply);
        Py_DECREF(entry);
        Py_DECREF(reply);
        if (job == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception))
            PyErr_Clear(); /* the Python code meets it again, and it is this job's alone */
        if ((job == NULL && PyErr_Occurred()) || PyList_Append(made, job == NULL ? Py_NotImplemented : job) < 0)
            Py_CLEAR(made);
        Py_XDECREF(job);
    }
    return made;
}

/* ---- parameters as a type wants them ------------------------------------------------------- */

#define MOST_DIGITS 18 /* of a number that a long long surely holds */

/* The whole number that a text of digits says; NULL without an error where it is none of this code. */
static PyObject *
number_in(PyObject *text)
{
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_ASCII(text))
        return NULL;
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    const char *digits = (const char *)PyUnicode_DATA(text);
    if (length < 1 || length > MOST_DIGITS)
        return NULL;
    long long number = 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return NULL;
        number = 10 * number + (digits[i] - '0');
    }
    return PyLong_FromLongLong(number);
}

/* What `read` makes of a member, owned: often the member itself. */
static PyObject *
read_member(PyObject *held, PyObject *read, PyObject *fitting, PyObject *digits)
{
    if (digits == Py_True) {
        PyObject *number = number_in(held);
        if (number != NULL || PyErr_Occurred())
            return number;
    }
    int fits = PySet_Contains(fitting, (PyObject *)Py_TYPE(held));
    if (fits < 0)
        return NULL;
    return fits ? Py_NewRef(held) : PyObject_CallOneArg(read, held);
}

PyDoc_STRVAR(is_flat_doc, "is_flat(data) -> bool\n\nWhether it is a dict whose values are all texts, bytes, numbers, booleans or None.");

static PyObject *
is_flat(PyObject *module, PyObject *data)
{
    if (!PyDict_CheckExact(data))
        Py_RETURN_FALSE;
    PyObject *value;
    Py_ssize_t place = 0;
    while (PyDict_Next(data, &place, NULL, &value))
        if (!PyUnicode_CheckExact(value) && !PyBytes_CheckExact(value) && !PyLong_CheckExact(value) &&
            !PyFloat_CheckExact(value) && !PyBool_Check(value) && value != Py_None)
            Py_RETURN_FALSE;
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(members_doc,
"members(value, reads) -> dict | None\n\n"
"`value`, or a copy of it in which members are as they were read; `reads` has a tuple of name, reader, the types that\n"
"need none, and whether digits are a number, for each. None for what is no dict.");

static PyObject *
members(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyTuple_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "members takes two arguments, the second of them a tuple");
        return NULL;
    }
    PyObject *value = args[0], *reads = args[1];
    if (!PyDict_CheckExact(value))
        Py_RETURN_NONE;
    PyObject *made = Py_NewRef(value);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(reads); i++) {
        PyObject *one = PyTuple_GET_ITEM(reads, i);
        if (!PyTuple_CheckExact(one) || PyTuple_GET_SIZE(one) != 4 || !PyFrozenSet_Check(PyTuple_GET_ITEM(one, 2))) {
            PyErr_SetString(PyExc_TypeError, "reads is a tuple of tuples of four");
            goto fail;
        }
        PyObject *name = PyTuple_GET_ITEM(one, 0), *held = PyDict_GetItemWithError(value, name);
        if (held == NULL) {
            if (PyErr_Occurred())
                goto fail;
            continue;
        }
        Py_INCREF(held);
        PyObject *read = read_member(held, PyTuple_GET_ITEM(one, 1), PyTuple_GET_ITEM(one, 2), PyTuple_GET_ITEM(one, 3));
        int same = read == held;
        Py_DECREF(held);
        if (read == NULL)
            goto fail;
        if (!same && made == value) {
            Py_SETREF(made, PyDict_Copy(value));
            if (made == NULL) {
                Py_DECREF(read);
                return NULL;
            }
        }
        int failed = !same && PyDict_SetItem(made, name, read) < 0;
        Py_DECREF(read);
        if (failed)
            goto fail;
    }
    return made;
fail:
    Py_DECREF(made);
    return NULL;
}

/* ---- results ------------------------------------------------------------------------------- */

/* Returns a new reference, Py_NotImplemented for what is no such result; NULL for an error. */
static PyObject *
scalar_of(PyObject *raw, Py_ssize_t max_bytes)
{
    if (!PyBytes_CheckExact(raw) || PyBytes_GET_SIZE(raw) == 0 || PyBytes_GET_SIZE(raw) > max_bytes)
        Py_RETURN_NOTIMPLEMENTED;
    const char *text = PyBytes_AS_STRING(raw) + 1;
    Py_ssize_t length = PyBytes_GET_SIZE(raw) - 1;
    if (text[-1] == 'T') {
        PyObject *value = PyUnicode_DecodeUTF8(text, length, NULL);
        if (value != NULL || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return value;
        PyErr_Clear();
        Py_RETURN_NOTIMPLEMENTED;
    }
    if (text[-1] != 'V')
        Py_RETURN_NOTIMPLEMENTED;
    int negative = length > 0 && text[0] == '-';
    Py_ssize_t digits = length - negative;
    /* As JSON has them: no sign but minus, no leading zeros, and small enough for the machine. */
    if (digits < 1 || digits > 18 || (digits > 1 && text[negative] == '0') || (negative && text[1] == '0'))
        Py_RETURN_NOTIMPLEMENTED;
    long long number = 0;
    for (Py_ssize_t i = negative; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            Py_RETURN_NOTIMPLEMENTED;
        number = 10 * number + (text[i] - '0');
    }
    return PyLong_FromLongLong(negative ? -number : number);
}

PyDoc_STRVAR(scalar_results_doc,
"scalar_results(replies, max_bytes) -> list | None\n\n"
"For each reply to an HMGET of one field its value: a result of at most max_bytes bytes, of the tag T by the string\n"
"policy `auto`, or of the tag V that is a whole number. NotImplemented for any other.");

static PyObject *
scalar_results(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "scalar_results takes two arguments");
        return NULL;
    }
    Py_ssize_t max_bytes;
    if (whole_number(args[1], &max_bytes) < 0)
        return NULL;
    if (!PyList_CheckExact(args[0]))
        Py_RETURN_NONE;
    Py_ssize_t length = PyList_GET_SIZE(args[0]);
    PyObject *values = PyList_New(length);
    if (values == NULL)
        return NULL;
    for (Py_ssize_t at = 0; at < length; at++) {
        PyObject *reply = PyList_GET_ITEM(args[0], at);
        PyObject *raw = PyList_CheckExact(reply) && PyList_GET_SIZE(reply) == 1 ? PyList_GET_ITEM(reply, 0) : Py_None;
        PyObject *value = scalar_of(raw, max_bytes);
        if (value == NULL) {
            Py_DECREF(values);
            return NULL;
        }
        PyList_SET_ITEM(values, at, value);
    }
    return values;
}

PyDoc_STRVAR(spell_id_doc, "spell_id(pool, at) -> str\n\nSixteen random bytes of `pool` as a version 4 UUID.");

static PyObject *
spell_id(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    static const char digit[] = "0123456789abcdef";
    Py_ssize_t at;
    if (count != 2 || !PyBytes_CheckExact(args[0]) || ((at = PyLong_AsSsize_t(args[1])) == -1 && PyErr_Occurred())) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "spell_id takes bytes and a number");
        return NULL;
    }
    if (at < 0 || at > PyBytes_GET_SIZE(args[0]) - 16) {
        PyErr_SetString(PyExc_ValueError, "there are no sixteen bytes there");
        return NULL;
    }
    const unsigned char *random = (const unsigned char *)PyBytes_AS_STRING(args[0]) + at;
    PyObject *made = PyUnicode_New(36, 127);
    if (made == NULL)
        return NULL;
    char *out = (char *)PyUnicode_1BYTE_DATA(made);
    for (int i = 0; i < 16; i++) {
        unsigned char byte = random[i];
        if (i == 6)
            byte = (byte & 0x0f) | 0x40;
        else if (i == 8)
            byte = (byte & 0x3f) | 0x80;
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digit[byte >> 4];
        *out++ = digit[byte & 15];
    }
    return made;
}

/* ---- nested values ------------------------------------------------------------------------- */

#define DEEPEST 1000 /* whatever the caller allows: this code walks by calling itself */

typedef struct {
    Py_ssize_t max_levels, items, max_items, size, max_size;
    Py_ssize_t levels, pairs; /* found */
    int is_json;              /* found: nothing that JSON says in another way, or not at all */
} Shape;

/* Whether `more` keeps `sum` within `most`; sums do not overflow. */
static int
spend(Py_ssize_t *sum, Py_ssize_t more, Py_ssize_t most)
{
    if (more > most - *sum)
        return 0;
    *sum += more;
    return 1;
}

static int
walk_text(Shape *shape, PyObject *text)
{
    if (PyUnicode_CheckExact(text)) {
        return spend(&shape->size, PyUnicode_GET_LENGTH(text), shape->max_size);
    }
    if (PyBytes_CheckExact(text)) {
        shape->is_json = 0;
        return spend(&shape->size, PyBytes_GET_SIZE(text), shape->max_size);
    }
    return 0;
}

/* Is `value` all plain data, within the limits? Nothing is made, called or let go of here: nothing changes underneath. */
static int
walk(Shape *shape, PyObject *value, Py_ssize_t level)
{
    if (PyUnicode_CheckExact(value) || PyBytes_CheckExact(value))
        return walk_text(shape, value);
    if (value == Py_None || PyBool_Check(value))
        return 1;
    if (PyLong_CheckExact(value)) {
        int overflow;
        (void)PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow)
            shape->is_json = 0;
        return 1;
    }
    if (PyFloat_CheckExact(value)) {
        if (!isfinite(PyFloat_AS_DOUBLE(value)))
            shape->is_json = 0;
        return 1;
    }
    int is_dict = PyDict_CheckExact(value);
    if (!is_dict && !PyList_CheckExact(value))
        return 0;
    if (++level > shape->max_levels)
        return 0;
    if (level > shape->levels)
        shape->levels = level;
    Py_ssize_t count = is_dict ? PyDict_GET_SIZE(value) : PyList_GET_SIZE(value);
    /* Before anything is looked at: what is shared stands here again and again. */
    if (!spend(&shape->items, is_dict ? 2 * count : count, shape->max_items))
        return 0;
    if (!is_dict) {
        for (Py_ssize_t i = 0; i < count; i++)
            if (!walk(shape, PyList_GET_ITEM(value, i), level))
                return 0;
        return 1;
    }
    PyObject *key, *item;
    Py_ssize_t place = 0;
    shape->pairs += count;
    while (PyDict_Next(value, &place, &key, &item)) {
        if (!PyUnicode_CheckExact(key))
            shape->is_json = 0;
        if (!walk_text(shape, key) || !walk(shape, item, level))
            return 0;
    }
    return 1;
}

PyDoc_STRVAR(shape_doc,
"shape(value, max_levels, max_items, max_size) -> (levels, pairs, is_json) | None\n\n"
"Of dicts whose keys are text, lists, texts, bytes, numbers, booleans and None, everything that is shared counted\n"
"wherever it stands; None for other values, and beyond the limits, `max_size` that of all texts together.\n"
"`is_json`: written as JSON and read again it is the same.");

static PyObject *
shape_of(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "shape takes four arguments");
        return NULL;
    }
    Shape shape = {.is_json = 1};
    if (whole_number(args[1], &shape.max_levels) < 0 || whole_number(args[2], &shape.max_items) < 0
        || whole_number(args[3], &shape.max_size) < 0)
        return NULL;
    if (shape.max_levels < 0 || shape.max_items < 0 || shape.max_size < 0)
        Py_RETURN_NONE;
    if (shape.max_levels > DEEPEST)
        shape.max_levels = DEEPEST;
    if (!walk(&shape, args[0], 0))
        return give_up(NULL);
    return Py_BuildValue("nnO", shape.levels, shape.pairs, shape.is_json ? Py_True : Py_False);
}

/* ---- completing ---------------------------------------------------------------------------- */

/* Whether `accept`, tags between commas, has the tag V; -1 where it is none for this code. */
static int
accepts_exact(PyObject *accept)
{
    if (accept == Py_None)
        return 0;
    if (!PyUnicode_CheckExact(accept) || !PyUnicode_IS_ASCII(accept))
        return -1;
    const char *tags = (const char *)PyUnicode_DATA(accept), *end = tags + PyUnicode_GET_LENGTH(accept);
    for (const char *at = tags; at < end; at++) {
        if (*at == 'V' && (at == tags || at[-1] == ',') && (at + 1 == end || at[1] == ','))
            return 1;
        if (*at != ',' && !(*at >= 'A' && *at <= 'Z'))
            return -1; /* space around a tag, say */
    }
    return 0;
}

PyDoc_STRVAR(completion_doc,
"completion(head, key, entry, channel, value, accept, started, processed) -> tuple | None\n\n"
"The call of a script that completes a job in a tagged dialect with timing fields: `head`, then these. `accept`: the tags\n"
"that the submitter reads, None where it does not say.");

static PyObject *
completion(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 8 || !PyTuple_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "completion takes eight arguments, the first of them a tuple");
        return NULL;
    }
    PyObject *head = args[0], *value = args[4];
    int exact = PyLong_CheckExact(value) ? accepts_exact(args[5]) : 0;
    if (exact < 0 || !PyFloat_CheckExact(args[6]) || !PyFloat_CheckExact(args[7]))
        Py_RETURN_NONE;
    PyObject *result = printed(value, exact ? 'V' : 'T');
    if (result == NULL)
        return give_up(NULL);
    PyObject *started = epoch(PyFloat_AS_DOUBLE(args[6])), *processed = epoch(PyFloat_AS_DOUBLE(args[7]));
    Py_ssize_t before = PyTuple_GET_SIZE(head);
    PyObject *command = started == NULL || processed == NULL ? NULL : PyTuple_New(before + 6);
    if (command == NULL) {
        Py_DECREF(result);
        Py_XDECREF(started);
        Py_XDECREF(processed);
        return NULL;
    }
    /* Filled at once: nothing is made or called meanwhile. */
    for (Py_ssize_t i = 0; i < before; i++)
        PyTuple_SET_ITEM(command, i, Py_NewRef(PyTuple_GET_ITEM(head, i)));
    for (Py_ssize_t i = 0; i < 3; i++)
        PyTuple_SET_ITEM(command, before + i, Py_NewRef(args[1 + i]));
    PyTuple_SET_ITEM(command, before + 3, result);
    PyTuple_SET_ITEM(command, before + 4, started);
    PyTuple_SET_ITEM(command, before + 5, processed);
    return command;
}

/* The places of words in a call of COMPLETE with times, and how many it has. */
enum { JOB = 4, CHANNEL = 6, RESULT = 7, WORDS = 10 };

/* The call of a completion in the tuple of one that `calls` holds at `at`; NULL where it is none for this code. */
static PyObject *
call_at(PyObject *calls, Py_ssize_t at)
{
    PyObject *one = PyList_GET_ITEM(calls, at);
    if (!PyTuple_CheckExact(one) || PyTuple_GET_SIZE(one) != 1)
        return NULL;
    PyObject *call = PyTuple_GET_ITEM(one, 0);
    if (!PyTuple_CheckExact(call) || PyTuple_GET_SIZE(call) != WORDS ||
        !PyBytes_CheckExact(PyTuple_GET_ITEM(call, CHANNEL)) || !PyBytes_CheckExact(PyTuple_GET_ITEM(call, RESULT)))
        return NULL;
    return call;
}

/* Whether two calls are of jobs of the same client, as those that end together often are. */
static int
same_channel(PyObject *call, PyObject *other)
{
    PyObject *one = PyTuple_GET_ITEM(call, CHANNEL), *two = PyTuple_GET_ITEM(other, CHANNEL);
    return one == two || (PyBytes_GET_SIZE(one) == PyBytes_GET_SIZE(two) &&
                          memcmp(PyBytes_AS_STRING(one), PyBytes_AS_STRING(two), PyBytes_GET_SIZE(one)) == 0);
}

PyDoc_STRVAR(joined_doc,
"joined(head, own, calls, at, most, max_bytes) -> (command, count) | None\n\n"
"One call of COMPLETE_MANY: `head`, the number of its keys, the list `own`, then what the calls of COMPLETE from `at` on\n"
"say, each in a tuple of one: `most` of them, and no more than `max_bytes` of results. A channel that is that of the call\n"
"before is left empty. A call that is alone stays.");

static PyObject *
joined(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 6 || !PyTuple_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "joined takes six arguments, the first of them a tuple");
        return NULL;
    }
    PyObject *head = args[0], *own = args[1], *calls = args[2];
    Py_ssize_t at, most, max_bytes, size = 0, some = 0;
    if (whole_number(args[3], &at) < 0 || whole_number(args[4], &most) < 0 || whole_number(args[5], &max_bytes) < 0)
        return NULL;
    if (at < 0 || !PyList_CheckExact(calls))
        Py_RETURN_NONE;
    while (at + some < PyList_GET_SIZE(calls) && some < most) {
        PyObject *call = call_at(calls, at + some);
        if (call == NULL)
            Py_RETURN_NONE;
        size += PyBytes_GET_SIZE(PyTuple_GET_ITEM(call, RESULT));
        if (some > 0 && size > max_bytes)
            break;
        some++;
    }
    if (some == 0)
        Py_RETURN_NONE;
    if (some == 1)
        return Py_BuildValue("On", call_at(calls, at), some);
    Py_ssize_t before = PyTuple_GET_SIZE(head);
    PyObject *keys = PyBytes_FromFormat("%zd", some + 1), *empty = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *command = keys == NULL || empty == NULL ? NULL : PyTuple_New(before + 2 + 5 * some);
    if (command == NULL) {
        Py_XDECREF(keys);
        Py_XDECREF(empty);
        return NULL;
    }
    int changed = 0; /* while the tuple was made */
    for (Py_ssize_t i = 0; !changed && i < some; i++)
        changed = at + i >= PyList_GET_SIZE(calls) || call_at(calls, at + i) == NULL;
    if (changed) {
        Py_DECREF(keys);
        Py_DECREF(empty);
        Py_DECREF(command);
        Py_RETURN_NONE;
    }
    /* Filled at once: nothing is made or called meanwhile. */
    for (Py_ssize_t i = 0; i < before; i++)
        PyTuple_SET_ITEM(command, i, Py_NewRef(PyTuple_GET_ITEM(head, i)));
    PyTuple_SET_ITEM(command, before, keys);
    PyTuple_SET_ITEM(command, before + 1, Py_NewRef(own));
    for (Py_ssize_t i = 0; i < some; i++) {
        PyObject *call = call_at(calls, at + i);
        PyTuple_SET_ITEM(command, before + 2 + i, Py_NewRef(PyTuple_GET_ITEM(call, JOB)));
        int same = i > 0 && same_channel(call, call_at(calls, at + i - 1));
        PyTuple_SET_ITEM(command, before + 2 + some + 4 * i, Py_NewRef(same ? empty : PyTuple_GET_ITEM(call, CHANNEL)));
        for (Py_ssize_t j = 1; j < 4; j++)
            PyTuple_SET_ITEM(command, before + 2 + some + 4 * i + j, Py_NewRef(PyTuple_GET_ITEM(call, CHANNEL + j)));
    }
    Py_DECREF(empty);
    return Py_BuildValue("Nn", command, some);
}

/* ---- commands as bytes --------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *bytes; /* being filled; NULL when there is nothing */
    Py_ssize_t used, commands;
} Outbox;

#define FIRST_SIZE 8192

static Py_ssize_t
digits_of(Py_ssize_t number)
{
    Py_ssize_t digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

static char *
put_number(char *out, char mark, Py_ssize_t number)
{
    Py_ssize_t digits = digits_of(number);
    *out = mark;
    for (Py_ssize_t i = digits; i > 0; i--) {
        out[i] = (char)('0' + number % 10);
        number /= 10;
    }
    out[digits + 1] = '\r';
    out[digits + 2] = '\n';
    return out + digits + 3;
}

/* `more` bytes on top of `size`; -1 with an error where that is more than any memory. */
static Py_ssize_t
grown(Py_ssize_t size, Py_ssize_t more)
{
    if (more > PY_SSIZE_T_MAX / 4 - size) {
        PyErr_NoMemory();
        return -1;
    }
    return size + more;
}

/* The size of a command in RESP; -1 with an error for what is none. */
static Py_ssize_t
packed_size(PyObject *command)
{
    if (!PyTuple_CheckExact(command) || PyTuple_GET_SIZE(command) == 0) {
        PyErr_SetString(PyExc_TypeError, "a command is a tuple of bytes, the name first");
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(command), size = digits_of(count) + 3;
    for (Py_ssize_t i = 0; size >= 0 && i < count; i++) {
        PyObject *word = PyTuple_GET_ITEM(command, i);
        if (!PyBytes_Check(word)) {
            PyErr_Format(PyExc_TypeError, "a command is a tuple of bytes; word %zd is a %s", i, Py_TYPE(word)->tp_name);
            return -1;
        }
        Py_ssize_t length = PyBytes_GET_SIZE(word);
        size = grown(size, digits_of(length) + 5 + length);
    }
    return size;
}

static int
reserve(Outbox *self, Py_ssize_t more)
{
    Py_ssize_t wanted = grown(self->used, more);
    if (wanted < 0)
        return -1;
    if (self->bytes == NULL) {
        self->bytes = PyBytes_FromStringAndSize(NULL, wanted > FIRST_SIZE ? wanted : FIRST_SIZE);
        return self->bytes == NULL ? -1 : 0;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(self->bytes);
    if (wanted <= size)
        return 0;
    int failed = _PyBytes_Resize(&self->bytes, wanted > 2 * size ? wanted : 2 * size);
    if (failed) /* the old bytes are gone with it */
        self->used = self->commands = 0;
    return failed;
}

PyDoc_STRVAR(outbox_add_doc,
"add(commands) -> int\n\nPack commands behind what is there: all of them, or where one is none (TypeError), nothing.\n"
"Answers how many these were.");

static PyObject *
outbox_add(Outbox *self, PyObject *commands)
{
    PyObject *all = PySequence_Fast(commands, "commands are a sequence");
    if (all == NULL)
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(all), size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t one = packed_size(PySequence_Fast_GET_ITEM(all, i));
        if (one < 0 || (size = grown(size, one)) < 0) {
            Py_DECREF(all);
            return NULL;
        }
    }
    if (count && reserve(self, size) < 0) {
        Py_DECREF(all);
        return NULL;
    }
    /* From here on nothing is made or called: what was measured is what is copied. */
    char *out = count ? PyBytes_AS_STRING(self->bytes) + self->used : NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *command = PySequence_Fast_GET_ITEM(all, i);
        Py_ssize_t words = PyTuple_GET_SIZE(command);
        out = put_number(out, '*', words);
        for (Py_ssize_t j = 0; j < words; j++) {
            PyObject *word = PyTuple_GET_ITEM(command, j);
            Py_ssize_t length = PyBytes_GET_SIZE(word);
            out = put_number(out, '$', length);
            memcpy(out, PyBytes_AS_STRING(word), length);
            out += length;
            *out++ = '\r';
            *out++ = '\n';
        }
    }
    self->used += size;
    self->commands += count;
    Py_DECREF(all);
    return PyLong_FromSsize_t(count);
}

PyDoc_STRVAR(outbox_take_doc, "take() -> bytes\n\nAll that was added, and nothing is there any more.");

static PyObject *
outbox_take(Outbox *self, PyObject *nothing)
{
    PyObject *all = self->bytes;
    Py_ssize_t used = self->used;
    self->bytes = NULL;
    self->used = self->commands = 0;
    if (all == NULL)
        return PyBytes_FromStringAndSize(NULL, 0);
    if (_PyBytes_Resize(&all, used) < 0)
        return NULL;
    return all;
}

PyDoc_STRVAR(outbox_clear_doc, "clear()\n\nForget all that was added.");

static PyObject *
outbox_clear(Outbox *self, PyObject *nothing)
{
    Py_CLEAR(self->bytes);
    self->used = self->commands = 0;
    Py_RETURN_NONE;
}

static Py_ssize_t
outbox_length(Outbox *self)
{
    return self->commands;
}

static void
outbox_dealloc(Outbox *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->bytes);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMethodDef outbox_methods[] = {
    {"add", (PyCFunction)outbox_add, METH_O, outbox_add_doc},
    {"take", (PyCFunction)outbox_take, METH_NOARGS, outbox_take_doc},
    {"clear", (PyCFunction)outbox_clear, METH_NOARGS, outbox_clear_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot outbox_slots[] = {
    {Py_tp_doc, "Commands as RESP, ready to be written in one piece; its length is how many there are."},
    {Py_tp_methods, outbox_methods},
    {Py_tp_dealloc, outbox_dealloc},
    {Py_sq_length, outbox_length},
    {0, NULL},
};

static PyType_Spec outbox_spec = {
    .name = "jobwire.wire._speedups.Outbox",
    .basicsize = sizeof(Outbox),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = outbox_slots,
};

/* ---- replies ------------------------------------------------------------------------------- */

PyDoc_STRVAR(gather_doc,
"gather(gets, replies, count) -> bool\n\n"
"Append to `replies` what `gets()` returns until there are `count`; False where it returned False before.");

static PyObject *
gather(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t wanted;
    if (count != 3 || !PyList_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "gather takes three arguments, the second of them a list");
        return NULL;
    }
    if (whole_number(args[2], &wanted) < 0)
        return NULL;
    while (PyList_GET_SIZE(args[1]) < wanted) {
        PyObject *reply = PyObject_CallNoArgs(args[0]);
        if (reply == NULL)
            return NULL;
        if (reply == Py_False)
            return reply;
        int failed = PyList_Append(args[1], reply);
        Py_DECREF(reply);
        if (failed)
            return NULL;
    }
    Py_RETURN_TRUE;
}

/* ---- the module ---------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"hash_fields", (PyCFunction)(void (*)(void))hash_fields, METH_FASTCALL, hash_fields_doc},
    {"jobs", (PyCFunction)(void (*)(void))jobs, METH_FASTCALL, jobs_doc},
    {"scalar_results", (PyCFunction)(void (*)(void))scalar_results, METH_FASTCALL, scalar_results_doc},
    {"shape", (PyCFunction)(void (*)(void))shape_of, METH_FASTCALL, shape_doc},
    {"spell_id", (PyCFunction)(void (*)(void))spell_id, METH_FASTCALL, spell_id_doc},
    {"is_flat", is_flat, METH_O, is_flat_doc},
    {"members", (PyCFunction)(void (*)(void))members, METH_FASTCALL, members_doc},
    {"completion", (PyCFunction)(void (*)(void))completion, METH_FASTCALL, completion_doc},
    {"joined", (PyCFunction)(void (*)(void))joined, METH_FASTCALL, joined_doc},
    {"gather", (PyCFunction)(void (*)(void))gather, METH_FASTCALL, gather_doc},
    {NULL, NULL, 0, NULL},
};

static int
fill(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&outbox_spec);
    if (type == NULL)
        return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed ? failed : PyModule_AddStringConstant(module, "version", VERSION);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_speedups",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
