using CarServer.RunStore;

namespace CarServer.State.Engine;

/// <summary>One key about to be written.</summary>
internal readonly record struct StateWrite(string Key, RawJson Value);

/// <summary>One key that was written (protocol 9).</summary>
/// <param name="OldValue">Absent when the key was new.</param>
/// <param name="NewValue">Absent when a rollback took the key away.</param>
internal readonly record struct StateTransition(string Key, RawJson OldValue, RawJson NewValue);
