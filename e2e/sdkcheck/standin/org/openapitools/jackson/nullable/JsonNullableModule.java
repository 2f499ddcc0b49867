package org.openapitools.jackson.nullable;

import com.fasterxml.jackson.databind.module.SimpleModule;

/** Stands in for the class of jackson-databind-nullable, so that what uses it compiles. */
public class JsonNullableModule extends SimpleModule {}
