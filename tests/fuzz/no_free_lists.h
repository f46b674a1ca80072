/* Included before the compiled code when it is built with sanitizers. Python keeps some dicts and lists that were let go
 * of, and a use of one of these is not seen. What a call of their type makes is not taken from there, but goes there: so
 * each that is made here brings a few more, until there is no room for it and it is really freed. */
#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#include <Python.h>
#undef PY_SSIZE_T_CLEAN /* as the source says itself */

static inline PyObject *
made_by(PyTypeObject *type)
{
    PyObject *spare[4];
    for (int i = 0; i < 4; i++)
        spare[i] = PyObject_CallNoArgs((PyObject *)type);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(spare[i]);
    return PyObject_CallNoArgs((PyObject *)type);
}

static inline PyObject *
really_new_dict(void)
{
    return made_by(&PyDict_Type);
}

static inline PyObject *
really_new_list(Py_ssize_t count)
{
    PyObject *list = made_by(&PyList_Type);
    while (list != NULL && count-- > 0)
        if (PyList_Append(list, Py_None) < 0)
            Py_CLEAR(list);
    return list;
}

#define PyDict_New really_new_dict
#define PyList_New really_new_list
