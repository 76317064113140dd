namespace CarServer.Tests.Fuzz;

/// <summary>Small damage to octets, from a generator whose seed is fixed: what fails can be run again.</summary>
internal static class Mutation
{
    public static int Apply(Random random, byte[] octets, int length)
    {
        for (int i = random.Next(4); i > 0 && length > 0; i--)
        {
            int at = random.Next(length);
            switch (random.Next(5))
            {
                case 0: octets[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: octets[at] = (byte)random.Next(256); break;
                case 2: octets[at] = octets[random.Next(length)]; break;
                case 3:
                    octets.AsSpan(at + 1, length - at - 1).CopyTo(octets.AsSpan(at));
                    length--;
                    break;
                default: length = at; break;
            }
        }
        return length;
    }
}
