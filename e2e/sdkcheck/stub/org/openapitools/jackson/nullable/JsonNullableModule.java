package org.openapitools.jackson.nullable;

import com.fasterxml.jackson.databind.module.SimpleModule;

/** A stub of the class in jackson-databind-nullable, to compile the clients that use it. */
public class JsonNullableModule extends SimpleModule {}
