"""One value in, one value out: functions of single elements, softmax and dropout."""
